extension RunConfiguration {
  /// How completions are drawn.
  public struct GenerationSettings: Sendable, Equatable {
    /// What logits are divided by; 0 takes the likeliest token.
    public var temperature = 1.0
    /// The probability that the kept tokens reach together; 1 keeps all.
    public var topP = 1.0
    /// How many tokens are kept; 0 keeps all.
    public var topK = 0
    /// The most tokens of a completion.
    public var maxNewTokens = 128
    /// What the oracle's score loses where the end token is missing.
    public var missingEosPenalty = 0.0
    /// Steps that one generation serves.
    public var every = 1
  }

  /// The size of an optimizer step.
  public struct BatchSettings: Sendable, Equatable {
    /// Rows of a step, over all ranks.
    public var pairs = 32
    /// Work groups that a step is cut into, whatever the number of ranks.
    public var groups = 8
  }
}

extension RunConfiguration.GenerationSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    try section.read("temperature", into: &temperature, .atLeast(0))
    try section.read("top_p", into: &topP, .aboveTo(0, 1))
    try section.read("top_k", into: &topK, atLeast: 0)
    try section.read("max_new_tokens", into: &maxNewTokens, atLeast: 1)
    try section.read("missing_eos_penalty", into: &missingEosPenalty, .fromTo(0, 1e6))
    try section.read("every", into: &every, atLeast: 1)
  }
}

extension RunConfiguration.BatchSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    try section.read("pairs", into: &pairs, atLeast: 1)
    try section.read("groups", into: &groups, atLeast: 1)
  }
}
