extension RunConfiguration {
  /// Who scores completions.
  public enum OracleSource: Sendable, Equatable {
    /// A reward model, or another model's implicit reward.
    case model(OracleModel)
    /// A program, spoken to in JSON lines.
    case command(OracleCommand)
    /// A built-in rule by name.
    case rule(String)
  }

  /// A model that scores completions; the folder's class says how.
  ///
  /// A reward model has a head for it; of a causal language model it is the implicit reward
  /// β · log π/π_ref.
  public struct OracleModel: Sendable, Equatable {
    /// The folder of the model.
    public var folder: String
    /// The folder of a causal model's reference; nil is the run's own reference.
    public var reference: String?
    /// β of the implicit reward, that of the objective unless given.
    public var beta: Double
    /// Takes the opposite of a reward model's output, as of a cost.
    public var isReversed: Bool
    /// Puts a reward model's end token behind completions that ended by themselves.
    public var addsEndToken: Bool

    /// A model from its parts.
    public init(
      folder: String, reference: String?, beta: Double, isReversed: Bool = false,
      addsEndToken: Bool = false
    ) {
      self.folder = folder
      self.reference = reference
      self.beta = beta
      self.isReversed = isReversed
      self.addsEndToken = addsEndToken
    }
  }

  /// A program that scores completions.
  public struct OracleCommand: Sendable, Equatable {
    /// The program, found on PATH unless it has a slash, and its arguments.
    public var words: [String]
    /// The longest time in seconds without an answer while questions are open.
    public var timeoutSeconds = 60.0
    /// How often a rank may start the program again.
    public var restartLimit = 3

    /// A command with the default limits.
    public init(words: [String]) { self.words = words }
  }
}

extension RunConfiguration.OracleSource {
  /// The keys that name an oracle, one kind each.
  private static let kinds = ["model", "command", "rule"]

  /// Reads the oracle of a run file; throws unless it is exactly one of the three kinds.
  ///
  /// `beta` is that of an oracle model that is not given its own.
  static func reading(
    _ root: ConfigurationSection, beta: Double
  ) throws(ConfigurationError) -> RunConfiguration.OracleSource? {
    guard let value = root.value("oracle") else { return nil }
    let section = try ConfigurationSection(value, path: "oracle")
    let given = kinds.filter { section.value($0) != nil }
    guard given.count == 1, let kind = given.first else {
      throw ConfigurationError(
        value.place,
        "oracle must have exactly one of model, command, rule, found "
          + (given.isEmpty ? "none" : given.joined(separator: " and ")))
    }
    for key in ["timeout", "restarts"] where kind != "command" {
      try refuse(key, of: "command", beside: kind, in: section)
    }
    for key in ["reference", "beta", "reverse", "end_token"] where kind != "model" {
      try refuse(key, of: "model", beside: kind, in: section)
    }
    switch kind {
    case "model":
      return .model(try RunConfiguration.OracleModel(reading: section, beta: beta))
    case "rule": return .rule(try section.required("rule", "the name of a rule"))
    default: return .command(try RunConfiguration.OracleCommand(reading: section))
    }
  }

  /// Refuses a setting that another kind of oracle has.
  private static func refuse(
    _ key: String, of owner: String, beside kind: String, in section: ConfigurationSection
  ) throws(ConfigurationError) {
    guard let value = section.value(key) else { return }
    throw ConfigurationError(
      value.place,
      "oracle.\(key) is a setting of oracle.\(owner), found beside oracle.\(kind); leave it out")
  }
}

extension RunConfiguration.OracleModel {
  init(reading section: ConfigurationSection, beta: Double) throws(ConfigurationError) {
    self.init(
      folder: try section.required("model", "the folder of a reward model or a causal model"),
      reference: try section.text("reference", "a folder"), beta: beta)
    try section.read("beta", into: &self.beta, .above(0))
    try section.read("reverse", into: &isReversed)
    try section.read("end_token", into: &addsEndToken)
  }
}

extension RunConfiguration.OracleCommand {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    words = try section.texts("command", "a list of a program and its arguments")
    try section.read("timeout", into: &timeoutSeconds, .above(0))
    try section.read("restarts", into: &restartLimit, atLeast: 0)
  }
}

extension RunConfiguration.OracleSource {
  /// The keys of the oracle with their values.
  var resolved: ResolvedValue {
    switch self {
    case .model(let model):
      [
        "model": .text(model.folder), "reference": .text(model.reference),
        "beta": .number(model.beta), "reverse": .truth(model.isReversed),
        "end_token": .truth(model.addsEndToken),
      ]
    case .command(let command):
      [
        "command": .list(command.words.map { .text($0) }),
        "timeout": .number(command.timeoutSeconds), "restarts": .number(command.restartLimit),
      ]
    case .rule(let name): ["rule": .text(name)]
    }
  }
}
