extension RunConfiguration {
  /// Where the weights come from.
  public enum ModelSource: Sendable, Equatable {
    /// A Hugging Face folder.
    case folder(String)
    /// Random weights for a `config.json`, with a tokenizer (file or folder) and a seed.
    case random(config: String, tokenizer: String, seed: UInt64)
  }

  /// Who scores completions.
  public enum OracleSource: Sendable, Equatable {
    /// A reward model's folder.
    case model(String)
    /// A program and its arguments, spoken to in JSON lines.
    case command([String])
    /// A built-in rule by name.
    case rule(String)
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

extension RunConfiguration.OracleSource {
  /// Reads the oracle of a run file; throws unless it is exactly one of the three kinds.
  static func reading(
    _ root: ConfigurationSection
  ) throws(ConfigurationError) -> RunConfiguration.OracleSource? {
    guard let value = root.value("oracle") else { return nil }
    let section = try ConfigurationSection(value, path: "oracle")
    let given = ConfigurationKeys.keys(of: "oracle").filter { section.value($0) != nil }
    guard given.count == 1, let kind = given.first else {
      throw ConfigurationError(
        value.place,
        "oracle must have exactly one of model, command, rule, found "
          + (given.isEmpty ? "none" : given.joined(separator: " and ")))
    }
    switch kind {
    case "model": return .model(try section.required("model", "the folder of a reward model"))
    case "rule": return .rule(try section.required("rule", "the name of a rule"))
    default:
      let words = try section.texts("command", "a list of a program and its arguments")
      return .command(words)
    }
  }
}
