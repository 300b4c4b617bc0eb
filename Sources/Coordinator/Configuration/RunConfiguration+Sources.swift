extension RunConfiguration {
  /// Where the weights come from.
  public enum ModelSource: Sendable, Equatable {
    /// A Hugging Face folder, or a PEFT adapter folder with the folder of its base model, nil for the one
    /// that it names.
    case folder(String, base: String? = nil)
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
        try root.text(
          "model", value, "a folder, a mapping of config, tokenizer, seed, or of adapter, base"))
      return
    }
    let section = try ConfigurationSection(value, path: "model")
    if section.value("adapter") != nil {
      for key in ["config", "tokenizer", "seed"] where section.value(key) != nil {
        throw ConfigurationError(
          value.place,
          "model.\(key) goes with model.config only, not with model.adapter; leave it out")
      }
      self = .folder(
        try section.required("adapter", "an adapter folder"),
        base: try section.text("base", "the folder of the adapter's base model"))
      return
    }
    guard section.value("base") == nil else {
      throw ConfigurationError(
        value.place, "model.base goes with model.adapter only; leave it out")
    }
    var seed: UInt64 = 1
    try section.read("seed", into: &seed)
    self = .random(
      config: try section.required("config", "the path of a config.json"),
      tokenizer: try section.required("tokenizer", "the path of a tokenizer"), seed: seed)
  }
}
