extension RunConfiguration {
  /// When and how much to evaluate.
  public struct EvaluationSettings: Sendable, Equatable {
    /// Steps between evaluations; 0 is never.
    public var every = 50
    /// The most evaluation rows.
    public var pairs = 256
    /// Prompts for which completions are generated and judged.
    public var generations = 64
  }

  /// What is written to `samples.jsonl`.
  public struct SampleSettings: Sendable, Equatable {
    /// Steps between writes; 0 is never.
    public var every = 50
    /// How many rows of a step.
    public var rows = SampleRows.count(8)
  }

  /// How many rows of a step are written.
  public enum SampleRows: Sendable, Equatable {
    /// All of them.
    case all
    /// The first so many.
    case count(Int)
  }

  /// When to save.
  public struct CheckpointSettings: Sendable, Equatable {
    /// Steps between checkpoints; the last step is always saved.
    public var every = 50
    /// How many of the newest are kept.
    public var keep = 3
  }
}

extension RunConfiguration.EvaluationSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    try section.read("every", into: &every, atLeast: 0)
    try section.read("pairs", into: &pairs, atLeast: 0)
    try section.read("generations", into: &generations, atLeast: 0)
  }
}

extension RunConfiguration.SampleSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    try section.read("every", into: &every, atLeast: 0)
    guard let value = try section.written("rows", "a whole number or all") else { return }
    if case .scalar("all", _) = value.content {
      rows = .all
    } else {
      rows = .count(try section.whole("rows", value, atLeast: 0, or: " or all"))
    }
  }
}

extension RunConfiguration.CheckpointSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    try section.read("every", into: &every, atLeast: 1)
    try section.read("keep", into: &keep, atLeast: 1)
  }
}
