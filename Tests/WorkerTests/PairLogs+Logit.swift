@testable import Worker

extension PairLogs {
  /// Log-probabilities of two responses, with a reference that makes u what is asked for.
  init(first: Double, second: Double, u: Double, beta: Double) {
    self.init(
      first: first, second: second, referenceFirst: first - u / beta, referenceSecond: second)
  }
}

extension PairLabel {
  /// The policy's own label, drawn for the first response whatever u is.
  static let drawnFirst = PairLabel.sampled(uniform: 0)
  /// The policy's own label, drawn for the second response.
  static let drawnSecond = PairLabel.sampled(uniform: 1)
}
