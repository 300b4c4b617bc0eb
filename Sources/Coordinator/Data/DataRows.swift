/// A preference pair as text.
public struct PreferenceRow: Sendable, Equatable {
  /// What is answered.
  public var prompt: String
  /// The preferred completion.
  public var chosen: String
  /// The other completion.
  public var rejected: String

  /// A row from its parts.
  public init(prompt: String, chosen: String, rejected: String) {
    self.prompt = prompt
    self.chosen = chosen
    self.rejected = rejected
  }

  /// The row of a line with "prompt", "chosen" and "rejected".
  ///
  /// - Parameter line: the line; other keys are ignored.
  /// - Throws: `DataError` if one of them is missing or not a string.
  public init(_ line: DataLine) throws(DataError) {
    prompt = try line.explicitPrompt()
    chosen = try line.string("chosen")
    rejected = try line.string("rejected")
  }

  /// The preference rows of a JSONL file; throws `DataError` with file and line.
  public static func read(path: String) throws(DataError) -> [PreferenceRow] {
    var rows: [PreferenceRow] = []
    for line in try DataLine.read(path: path) { rows.append(try PreferenceRow(line)) }
    return rows
  }
}

/// A prompt with the completion to imitate, as text.
public struct CompletionRow: Sendable, Equatable {
  /// What is answered.
  public var prompt: String
  /// The answer.
  public var completion: String

  /// A row from its parts.
  public init(prompt: String, completion: String) {
    self.prompt = prompt
    self.completion = completion
  }

  /// The row of a line with "prompt" and "completion", or of a preference row with its "chosen".
  ///
  /// - Parameter line: the line; other keys are ignored, but a "rejected" must be a string too.
  /// - Throws: `DataError` if a key is missing or not a string.
  public init(_ line: DataLine) throws(DataError) {
    if !line.has("completion"), line.has("chosen") {
      let row = try PreferenceRow(line)
      self.init(prompt: row.prompt, completion: row.chosen)
    } else {
      self.init(
        prompt: try line.explicitPrompt(), completion: try line.string("completion"))
    }
  }

  /// The completion rows of a JSONL file; throws `DataError` with file and line.
  public static func read(path: String) throws(DataError) -> [CompletionRow] {
    var rows: [CompletionRow] = []
    for line in try DataLine.read(path: path) { rows.append(try CompletionRow(line)) }
    return rows
  }
}

/// A prompt to be answered, as text.
public struct PromptRow: Sendable, Equatable {
  /// What is answered.
  public var prompt: String

  /// A row from its prompt.
  public init(prompt: String) { self.prompt = prompt }

  /// The row of any line with a "prompt".
  ///
  /// - Parameter line: the line; all other keys are ignored.
  /// - Throws: `DataError` if the prompt is missing or not a string.
  public init(_ line: DataLine) throws(DataError) { prompt = try line.explicitPrompt() }

  /// The prompts of a JSONL file; throws `DataError` with file and line.
  public static func read(path: String) throws(DataError) -> [PromptRow] {
    var rows: [PromptRow] = []
    for line in try DataLine.read(path: path) { rows.append(try PromptRow(line)) }
    return rows
  }
}
