import Tensor

/// The rows of one file, parted into training and evaluation rows.
public struct EvaluationSplit: Sendable, Equatable {
  /// The training rows' indices, ascending.
  public var train: [Int]
  /// The evaluation rows' indices, ascending.
  public var evaluation: [Int]

  /// Sets rows aside for evaluation by a draw keyed by the seed.
  ///
  /// The part is rounded down, but is at least one row if `fraction` is above 0.
  ///
  /// - Parameters:
  ///   - rowCount: the number of rows.
  ///   - fraction: the part set aside, at least 0 and below 1.
  ///   - seed: the split's own seed (`data.split_seed`).
  ///   - name: what the error calls the data.
  /// - Throws: `DataError` if no training row would be left.
  public init(rowCount: Int, fraction: Double, seed: UInt64, name: String) throws(DataError) {
    let aside = fraction > 0 ? max(1, Int(Double(rowCount) * fraction + 1e-9)) : 0
    guard aside < rowCount else {
      throw DataError(
        name,
        "\(rowCount) rows cannot be parted: data.eval_fraction sets \(aside) aside and no training "
          + "row is left; give more rows or eval_fraction: 0")
    }
    let order = KeyedRandom(seed: seed, purpose: .split).permutation(count: rowCount, step: 0)
    evaluation = order[..<aside].sorted()
    train = order[aside...].sorted()
  }
}
