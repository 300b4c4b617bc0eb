import Model

/// One row of a training step: a prompt and two responses as token ids, and who labels them.
public struct PairRow: Sendable {
  /// Position of the row in its step, which keys its draws.
  public var index: Int
  /// Where responses and label come from.
  public var route: Route
  /// Token ids of the prompt, at least one.
  public var prompt: [Int32]
  /// Token ids of the first response (the data set's chosen one, or the first sample).
  public var first: [Int32]
  /// Token ids of the second response.
  public var second: [Int32]
  /// Who says which response is better.
  public var label: PairLabel
  /// Contributes nothing: the oracle failed, or there are no tokens.
  ///
  /// It stays in the divisor.
  public var isDropped: Bool
  /// log π_ref of the first response.
  public var referenceFirst = 0.0
  /// log π_ref of the second response.
  public var referenceSecond = 0.0
  /// Baseline of T1.
  public var baseline = 0.0
  /// log q of both responses together as they were drawn, where the row has an importance weight.
  public var generated: Double?
  /// A response drawn from the reference, on which RevKL is taken; nil takes it on the pair's own.
  public var referenceResponse: [Int32]?

  /// A row from its parts; reference log-probabilities and baseline are set later.
  public init(
    index: Int, route: Route, prompt: [Int32], first: [Int32], second: [Int32], label: PairLabel,
    isDropped: Bool = false
  ) {
    self.index = index
    self.route = route
    self.prompt = prompt
    self.first = first
    self.second = second
    self.label = label
    self.isDropped = isDropped || first.isEmpty || second.isEmpty
  }

  /// The prompt with the row's responses, the reference's own last.
  public var family: PromptFamily {
    PromptFamily(
      prompt: prompt, completions: [first, second] + (referenceResponse.map { [$0] } ?? []),
      row: index)
  }
}

/// What the forward and the loss say about a row, for metrics.
public struct PairResult: Sendable, BitwiseCopyable {
  /// Position of the row in its step.
  public var index: Int
  /// The loss of the row, before the division by the planned count.
  public var loss = 0.0
  /// u of the training forward, in the stored order of the responses.
  public var u = 0.0
  /// V, the value of the row.
  public var value = 0.0
  /// 1 if the first response counts as chosen, 0 if the second, ½ for neither.
  public var chosen = 0.5
  /// log π of the first response.
  public var first = 0.0
  /// log π of the second response.
  public var second = 0.0
  /// Sum over the first response's tokens of the mean logit over the vocabulary.
  public var firstLogits = 0.0
  /// The same of the second response.
  public var secondLogits = 0.0
  /// Tokens of the first response.
  public var firstTokens = 0.0
  /// Sum of the tokens' entropies over both responses, in nats.
  public var entropy = 0.0
  /// Tokens of both responses whose target is the most likely token.
  public var correctTokens = 0.0
  /// Tokens of both responses.
  public var tokens = 0.0
  /// Importance weight of the row, 1 where it has none.
  public var weight = 1.0
  /// Σ_t KL(π_ref ‖ π), the mean over the row's sequences, where RevKL is taken; else 0.
  public var divergence = 0.0
  /// 1 if the row was dropped.
  public var dropped = 0.0
}

/// What the forward says about a row of supervised fine-tuning, for metrics.
public struct CompletionResult: Sendable, BitwiseCopyable {
  /// Position of the row in its step.
  public var index: Int
  /// log π of the completion.
  public var logProbability = 0.0
  /// Sum of the tokens' entropies, in nats.
  public var entropy = 0.0
  /// Tokens whose target is the most likely token.
  public var correctTokens = 0.0
  /// Tokens of the completion.
  public var tokens = 0.0
}
