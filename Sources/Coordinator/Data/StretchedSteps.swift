extension RunConfiguration {
  /// The optimizer steps of a run over so many rows.
  ///
  /// - Parameter rows: the number of usable training rows, at least 1.
  /// - Returns: `steps` as given, or those of `epochs`, stretched if the method is `sail`.
  /// - Throws: `ConfigurationError` if the run would have more steps than a number holds.
  public func stepCount(rows: Int) throws(ConfigurationError) -> Int {
    switch length {
    case .steps(let count): count
    case .epochs(let epochs):
      try RunConfiguration.stretchedSteps(
        epochs: epochs, rows: rows, pairs: batch.pairs,
        fractions: method == .sail ? sail.fractionSum : 0)
    }
  }

  /// The steps of a run by epochs, stretched so that the offline rows are seen as often as without
  /// online ones: epochs · rows / (1 − fractions) / pairs (SAIL.md §4).
  ///
  /// Rounded up, so the last step may reach into the next epoch; a quotient within 10⁻⁹ of a whole
  /// number is that number. Without offline rows (fractions 1) nothing is stretched.
  ///
  /// - Parameters:
  ///   - epochs: the passes over the data, above 0.
  ///   - rows: the number of training rows, at least 1.
  ///   - pairs: the rows of a step, at least 1.
  ///   - fractions: the sum of the online fractions, from 0 to 1.
  /// - Returns: the steps, at least 1.
  /// - Throws: `ConfigurationError` beyond 2³¹ − 1 steps.
  public static func stretchedSteps(
    epochs: Double, rows: Int, pairs: Int, fractions: Double
  ) throws(ConfigurationError) -> Int {
    let offline = 1 - fractions
    let stretch = offline > fractionTolerance ? 1 / offline : 1
    let exact = epochs * Double(rows) * stretch / Double(pairs)
    guard exact.isFinite, exact <= Double(ConfigurationSection.largestWhole) else {
      throw ConfigurationError(
        "epochs: \(epochs) over \(rows) rows with online fractions of \(fractions) is more than "
          + "\(ConfigurationSection.largestWhole) steps; lower epochs or the fractions, or give steps"
      )
    }
    let nearest = exact.rounded()
    let isWhole = abs(exact - nearest) <= 1e-9 * max(1, nearest)
    return max(1, Int(isWhole ? nearest : exact.rounded(.up)))
  }
}
