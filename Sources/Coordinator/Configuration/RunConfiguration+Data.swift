import Tokenizer

extension RunConfiguration {
  /// Which rows are read and how they become tokens.
  public struct DataSettings: Sendable, Equatable {
    /// The files of training rows, at least one.
    public var train: [DataFile]
    /// The files of evaluation rows; none if empty.
    public var eval: [DataFile] = []
    /// The part of the training rows set aside for evaluation instead of a file.
    public var evalFraction = 0.0
    /// The seed of that split.
    public var splitSeed: UInt64 = 42
    /// Whether each epoch has an order of its own.
    public var shuffle = true
    /// How lines are understood where a file does not say it itself; nil goes by their keys.
    public var format: DataForm?
    /// How prompts and conversations become text.
    public var template = Template.auto
    /// The most tokens of prompt and completion together.
    public var maxLength = 1024
    /// The most tokens of a prompt.
    public var maxPromptLength = 512
    /// What happens to a row beyond a limit.
    public var overlong = Overlong.drop
    /// Where tokenised rows are kept.
    public var cache = Cache.auto
  }

  /// A file of rows.
  public struct DataFile: Sendable, Equatable {
    /// The JSONL file, which may be compressed by gzip or zstd.
    public var path: String
    /// How often each row comes in an epoch.
    public var weight = 1.0
    /// Rows read from the beginning of the file; nil is all.
    public var limit: Int?
    /// How its lines are understood; nil is as `data.format` says.
    public var format: DataForm?
  }

  /// How prompts and conversations become text.
  public enum Template: Sendable, Equatable {
    /// Strings as they are, conversations by the model's own chat template.
    case auto
    /// No template: strings, and the contents of conversations of one message and one answer.
    case plain
    /// The model's own chat template, a string being the user's message.
    case chat
    /// `Human:` and `Assistant:` turns.
    case humanAssistant
    /// `[INST]` marks.
    case inst
    /// The chat format of a name, a string being the user's message.
    case named(String)

    /// The template of a name; nil if there is none of that name.
    public init?(name: String) {
      switch name {
      case "auto": self = .auto
      case "plain": self = .plain
      case "chat": self = .chat
      case "human-assistant": self = .humanAssistant
      case "inst": self = .inst
      default:
        guard ChatFormat.names.contains(name) else { return nil }
        self = .named(name)
      }
    }

    /// Its name.
    public var name: String {
      switch self {
      case .auto: "auto"
      case .plain: "plain"
      case .chat: "chat"
      case .humanAssistant: "human-assistant"
      case .inst: "inst"
      case .named(let name): name
      }
    }

    /// The names of all.
    public static let names =
      ["auto", "plain", "chat", "human-assistant", "inst"] + ChatFormat.names
  }

  /// Where tokenised rows are kept.
  public enum Cache: Sendable, Equatable {
    /// In `token-cache` beside the output folder.
    case auto
    /// Nowhere: every rank tokenises for itself into a temporary file.
    case off
    /// In a folder.
    case folder(String)
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
    guard section.value("train") != nil else {
      throw section.missing("train", "give the path of a JSONL file")
    }
    train = try section.dataFiles("train")
    eval = try section.dataFiles("eval")
    try section.read("eval_fraction", into: &evalFraction, .fromBelow(0, 1))
    try section.read("split_seed", into: &splitSeed)
    try section.read("shuffle", into: &shuffle)
    format = try section.dataForm()
    if let value = try section.written("template", "a template's name") {
      let names = RunConfiguration.Template.names.joined(separator: ", ")
      guard case .scalar(let text, _) = value.content,
        let found = RunConfiguration.Template(name: text)
      else { throw section.mismatch("template", value, "one of \(names)") }
      template = found
    }
    try section.read("max_length", into: &maxLength, atLeast: 2)
    try section.read("max_prompt_length", into: &maxPromptLength, atLeast: 1)
    try section.read("overlong", into: &overlong)
    if let value = try section.written("cache", "auto, off or a folder") {
      switch try section.text("cache", value, "auto, off or a folder") {
      case "auto": cache = .auto
      case "off": cache = .off
      case let folder: cache = .folder(folder)
      }
    }
  }
}

extension ConfigurationSection {
  /// The files under a key: a path, a mapping of path, weight, limit and format, or a list of such;
  /// none if the key is absent.
  fileprivate func dataFiles(
    _ key: String
  ) throws(ConfigurationError) -> [RunConfiguration.DataFile] {
    guard let value = value(key) else { return [] }
    guard case .list(let elements) = value.content else { return [try dataFile(key, value)] }
    guard !elements.isEmpty else { throw mismatch(key, value, "at least one file") }
    var files: [RunConfiguration.DataFile] = []
    for element in elements { files.append(try dataFile(key, element)) }
    return files
  }

  private func dataFile(
    _ key: String, _ value: ConfigurationValue
  ) throws(ConfigurationError) -> RunConfiguration.DataFile {
    guard case .mapping = value.content else {
      return .init(path: try text(key, value, "the path of a JSONL file"))
    }
    let section = try ConfigurationSection(value, path: fullPath(key))
    var file = RunConfiguration.DataFile(
      path: try section.required("path", "the path of a JSONL file"))
    try section.read("weight", into: &file.weight, .above(0))
    if let value = section.value("limit") {
      file.limit = try section.whole("limit", value, atLeast: 1)
    }
    file.format = try section.dataForm()
    return file
  }

  /// What is under `format`, nil for `auto`.
  fileprivate func dataForm() throws(ConfigurationError) -> DataForm? {
    let names = (["auto"] + DataForm.allCases.map(\.rawValue)).joined(separator: ", ")
    guard let value = try written("format", "one of \(names)") else { return nil }
    guard case .scalar(let text, _) = value.content else {
      throw mismatch("format", value, "one of \(names)")
    }
    if text == "auto" { return nil }
    guard let form = DataForm(rawValue: text) else {
      throw mismatch("format", value, "one of \(names)")
    }
    return form
  }
}
