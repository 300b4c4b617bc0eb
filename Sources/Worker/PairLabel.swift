/// Where a row's responses and label come from (SAIL, arXiv 2406.15567; D data, P policy, R reward).
public enum Route: String, Sendable, CaseIterable {
  /// Responses and label from the data set: plain DPO.
  case offline
  /// Responses from the data set, label from the policy's own preference.
  case ddp
  /// Responses from the policy, label from the policy's own preference.
  case dpp
  /// Responses from the policy, label from an oracle.
  case dpr

  /// Whether the responses are the policy's own.
  public var isOnline: Bool { self == .dpp || self == .dpr }
}

/// Who says which of a pair's two responses is better.
public enum PairLabel: Sendable, Equatable {
  /// Data or oracle: the first is better with this probability (1, 0, or ½ for a tie).
  case given(firstIsBetter: Double)
  /// The policy's own preference, in expectation.
  case expected
  /// The policy's own preference, drawn: the first is better if the uniform number is below G(u).
  case sampled(uniform: Double)
  /// The policy's own preference, the likelier order.
  case mostLikely
}
