extension RunConfiguration {
  /// Where the weights come from.
  public enum ModelSource: Sendable, Equatable {
    /// A Hugging Face folder.
    case folder(String)
    /// Random weights for a `config.json`, with a tokenizer (file or folder) and a seed.
    case random(config: String, tokenizer: String, seed: UInt64)
  }
}

extension RunConfiguration.ModelSource {
  init(
    reading value: ConfigurationValue, in root: ConfigurationSection
  ) throws(ConfigurationError) {
    guard case .mapping = value.content else {
      self = .folder(
        try root.text("model", value, "a folder or a mapping of config, tokenizer, seed"))
      return
    }
    let section = try ConfigurationSection(value, path: "model")
    var seed: UInt64 = 1
    try section.read("seed", into: &seed)
    self = .random(
      config: try section.required("config", "the path of a config.json"),
      tokenizer: try section.required("tokenizer", "the path of a tokenizer"), seed: seed)
  }
}
