extension RunConfiguration {
  /// Whether the training rows need only prompts: every response is generated, as the fractions of
  /// DPP and DPR add up to 1.
  public var trainsOnPromptsAlone: Bool {
    let online = sail.dpp.fraction + sail.dpr.fraction
    return method == .sail && sail.ddp.fraction == 0
      && abs(1 - online) <= RunConfiguration.fractionTolerance
  }
}

extension RunConfiguration {
  /// Whether the run draws completions: for training or for evaluation.
  var generates: Bool {
    let isOnline = method == .sail && sail.dpp.fraction + sail.dpr.fraction > 0
    let drawsFromReference = objective.revkl > 0 && objective.revklOn == .reference
    let evaluates =
      method != .sft && evaluate.generations > 0
      && (!data.eval.isEmpty || data.evalFraction > 0)
    return isOnline || drawsFromReference || evaluates
  }
}
