extension RunConfiguration {
  /// The response coefficient above which a run is warned of (SAIL.md §9).
  private static let largeResponseCoefficient = 0.1

  /// One sentence for each setting that is allowed but rarely meant (SAIL.md §5.1, §9).
  public var warnings: [String] {
    guard method == .sail else { return [] }
    var warnings: [String] = []
    func judgeResponse(_ route: String, _ fraction: Double, _ coefficient: Double) {
      guard fraction > 0, coefficient > RunConfiguration.largeResponseCoefficient else { return }
      warnings.append(
        "\(route).response_coefficient: \(coefficient) is large; above "
          + "\(RunConfiguration.largeResponseCoefficient) the noise of the term through the "
          + "responses tends to cost more than the term brings")
    }
    func judgeLabels(_ route: String, _ fraction: Double, _ sum: Double, _ labels: SelfLabels) {
      guard fraction > 0, sum == 0, labels != .argmax else { return }
      warnings.append(
        "\(route): labels of the policy's own with coefficients 0 "
          + (labels == .sample ? "are pure noise" : "teach nothing")
          + "; set a coefficient or the fraction to 0")
    }
    judgeLabels("sail.ddp", sail.ddp.fraction, sail.ddp.preferenceCoefficient, sail.ddp.labels)
    judgeLabels(
      "sail.dpp", sail.dpp.fraction,
      sail.dpp.preferenceCoefficient + sail.dpp.responseCoefficient, sail.dpp.labels)
    if sail.ddp.fraction + sail.dpp.fraction >= 1 - RunConfiguration.fractionTolerance {
      warnings.append(
        "every row is labelled by the policy itself: where policy and reference are equal such labels "
          + "have no gradient, and nothing says what is good; leave rows to the data or to sail.dpr"
      )
    }
    if case .steps(let count) = length, generation.every > count {
      warnings.append(
        "generation.every: \(generation.every) is more than steps: \(count); responses are generated "
          + "for steps that do not come")
    }
    judgeResponse("sail.dpp", sail.dpp.fraction, sail.dpp.responseCoefficient)
    judgeResponse("sail.dpr", sail.dpr.fraction, sail.dpr.responseCoefficient)
    return warnings
  }
}
