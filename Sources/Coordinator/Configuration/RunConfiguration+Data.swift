extension RunConfiguration {
  /// Which rows are read and how they become tokens.
  public struct DataSettings: Sendable, Equatable {
    /// The JSONL file of training rows.
    public var train: String
    /// The JSONL file of evaluation rows; nil is none.
    public var eval: String?
    /// The part of the training rows set aside for evaluation instead of a file.
    public var evalFraction = 0.0
    /// The seed of that split.
    public var splitSeed: UInt64 = 42
    /// Whether each epoch has an order of its own.
    public var shuffle = true
    /// How lines are understood; `auto` goes by their keys.
    public var format = "auto"
    /// How conversations become text.
    public var template = Template.auto
    /// The most tokens of prompt and completion together.
    public var maxLength = 1024
    /// The most tokens of a prompt.
    public var maxPromptLength = 512
    /// What happens to a row beyond a limit.
    public var overlong = Overlong.drop
  }

  /// How a conversation becomes text.
  public enum Template: String, Sendable, Equatable, CaseIterable {
    /// Plain strings as they are, conversations by the model's own template.
    case auto
    /// No template.
    case plain
    /// The template of tokenizer_config.json.
    case chat
    /// `Human:` and `Assistant:` turns.
    case humanAssistant = "human-assistant"
    /// `[INST]` marks.
    case inst
  }

  /// What happens to a row whose tokens are beyond a limit.
  public enum Overlong: String, Sendable, Equatable, CaseIterable {
    /// The row leaves the set and is counted.
    case drop
    /// The prompt loses its beginning, the completion its end.
    case cut
  }
}

extension RunConfiguration.DataSettings {
  init(reading root: ConfigurationSection) throws(ConfigurationError) {
    guard root.value("data") != nil else {
      throw root.missing("data", "give data: {train: rows.jsonl}")
    }
    let section = try root.section("data")
    train = try section.required("train", "the path of a JSONL file")
    eval = try section.text("eval", "the path of a JSONL file")
    try section.read("eval_fraction", into: &evalFraction, .fromBelow(0, 1))
    try section.read("split_seed", into: &splitSeed)
    try section.read("shuffle", into: &shuffle)
    try section.read("format", into: &format, "a word")
    try section.read("template", into: &template)
    try section.read("max_length", into: &maxLength, atLeast: 2)
    try section.read("max_prompt_length", into: &maxPromptLength, atLeast: 1)
    try section.read("overlong", into: &overlong)
  }
}
