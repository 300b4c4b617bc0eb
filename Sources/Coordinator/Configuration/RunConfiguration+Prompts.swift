extension RunConfiguration {
  /// Whether the training rows need only prompts: every response is generated, as the fractions of
  /// DPP and DPR add up to 1.
  public var trainsOnPromptsAlone: Bool {
    let online = sail.dpp.fraction + sail.dpr.fraction
    return method == .sail && sail.ddp.fraction == 0
      && abs(1 - online) <= RunConfiguration.fractionTolerance
  }
}
