/// What the keys of a file's lines mean.
public enum DataForm: String, Sendable, CaseIterable {
  /// TRL's preference form: `prompt`, `chosen`, `rejected`, or the prompt within the other two.
  case preference
  /// `prompt`, `completion`.
  case promptCompletion = "prompt-completion"
  /// `messages`: a conversation whose last message, the assistant's, is the completion.
  case messages
  /// `prompt`.
  case promptOnly = "prompt-only"
  /// PKU-SafeRLHF as published, the more helpful response preferred (`better_response_id`).
  case safeRLHF = "pku-safe-rlhf"
  /// The same, the safer response preferred (`safer_response_id`).
  case safeRLHFSafer = "pku-safe-rlhf-safer"
  /// UltraFeedback as published: the best of the `completions` against the worst.
  case ultraFeedback = "ultrafeedback"

  /// The form's keys.
  private var keys: String {
    switch self {
    case .preference: "chosen, rejected, with or without prompt"
    case .promptCompletion: "prompt, completion"
    case .messages: "messages"
    case .promptOnly: "prompt"
    case .safeRLHF: "prompt, response_0, response_1, better_response_id"
    case .safeRLHFSafer: "the same with safer_response_id"
    case .ultraFeedback: "instruction, completions"
    }
  }

  /// The form of a file by the keys of its first line.
  ///
  /// - Parameter line: the first line that is not blank.
  /// - Throws: `DataError` if no form has these keys.
  public init(recognizing line: DataLine) throws(DataError) {
    func has(_ keys: String...) -> Bool { keys.allSatisfy { line.object[$0] != nil } }
    if has("response_0", "response_1") {
      self = line.has("better_response_id") ? .safeRLHF : .safeRLHFSafer
    } else if has("instruction", "completions") {
      self = .ultraFeedback
    } else if has("chosen") || has("rejected") {
      self = .preference
    } else if has("messages") {
      self = .messages
    } else if has("completion") {
      self = .promptCompletion
    } else if has("prompt") {
      self = .promptOnly
    } else {
      let found = (line.object.members ?? []).map(\.key)
      let forms = DataForm.allCases.map { "\($0.rawValue) (\($0.keys))" }
      throw DataError(
        line.place,
        "a data set of unknown form: "
          + (found.isEmpty ? "no keys" : "the keys \(found.joined(separator: ", "))")
          + (has("text") ? ", a text without a prompt" : "")
          + "; expected one of \(forms.joined(separator: "; ")): rename the keys")
    }
  }

  /// The row of a line.
  ///
  /// - Parameter line: the line; keys that the form does not know are ignored, known ones checked.
  /// - Returns: the prompt with its responses.
  /// - Throws: `DataError` if a key is missing or holds something else.
  public func row(_ line: DataLine) throws(DataError) -> DataRow {
    switch self {
    case .preference: return try preference(line)
    case .promptCompletion:
      if line.object["label"]?.boolean != nil {
        throw DataError(
          line.place,
          "\"label\": completions with a label each (unpaired preference) are not implemented; "
            + "give pairs of chosen and rejected")
      }
      let (prompt, completion) = (try line.text("prompt"), try line.text("completion"))
      try sameKind(line, ("prompt", prompt), ("completion", completion))
      return DataRow(line, prompt: prompt, responses: [completion])
    case .messages:
      let messages = try line.conversation("messages")
      guard messages.last?.role == "assistant" else {
        return DataRow(line, prompt: .conversation(messages), responses: [])
      }
      guard messages.count > 1 else {
        throw DataError(
          line.place, "\"messages\" has the assistant's message only, expected one before it")
      }
      return DataRow(
        line, prompt: .conversation(messages.dropLast()),
        responses: [.conversation(messages.suffix(1))])
    case .promptOnly: return DataRow(line, prompt: try line.text("prompt"), responses: [])
    case .safeRLHF: return try safeRLHF(line, "better_response_id")
    case .safeRLHFSafer: return try safeRLHF(line, "safer_response_id")
    case .ultraFeedback: return try ultraFeedback(line)
    }
  }

  private func preference(_ line: DataLine) throws(DataError) -> DataRow {
    let (chosen, rejected) = (try line.text("chosen"), try line.text("rejected"))
    try sameKind(line, ("chosen", chosen), ("rejected", rejected))
    var row = DataRow(line, prompt: .text(""), responses: [chosen, rejected])
    if line.has("prompt") {
      row.prompt = try line.text("prompt")
      // A string beside conversations that repeat it, as UltraFeedback binarized has it.
      if chosen.isConversation, !row.prompt.isConversation { try row.extractPrompt() }
      try sameKind(line, ("prompt", row.prompt), ("chosen", chosen))
    } else {
      try row.extractPrompt()
    }
    row.margin = try line.number("margin")
    row.subset = line.object["subset"]?.string
    return row
  }

  private func sameKind(
    _ line: DataLine, _ first: (String, DataText), _ second: (String, DataText)
  ) throws(DataError) {
    func kind(_ text: DataText) -> String { text.isConversation ? "a conversation" : "a string" }
    guard first.1.isConversation != second.1.isConversation else { return }
    throw DataError(
      line.place,
      "\"\(first.0)\" is \(kind(first.1)), but \"\(second.0)\" is \(kind(second.1)); give both "
        + "in one way")
  }

  private func safeRLHF(_ line: DataLine, _ key: String) throws(DataError) -> DataRow {
    let responses = [try line.string("response_0"), try line.string("response_1")]
    let value = try line.value(key)
    guard let better = value.integer, 0...1 ~= better else {
      throw DataError(line.place, "\"\(key)\" must be 0 or 1, found \(value.text)")
    }
    return DataRow(
      line, prompt: .text(try line.string("prompt")),
      responses: [.text(responses[better]), .text(responses[1 - better])])
  }

  /// The first best against the first worst by overall score, as the SAIL paper's code takes them.
  private func ultraFeedback(_ line: DataLine) throws(DataError) -> DataRow {
    let prompt = try line.string("instruction")
    let value = try line.value("completions")
    guard let elements = value.elements else {
      throw DataError(line.place, "\"completions\" must be a list, found \(value.kind)")
    }
    var answers: [(text: String, score: Double)] = []
    for (index, element) in elements.enumerated() {
      guard let text = element["response"]?.string, let score = element["overall_score"]?.number
      else {
        throw DataError(
          line.place,
          "completion \(index + 1) must have a \"response\" that is a string and an "
            + "\"overall_score\" that is a number")
      }
      answers.append((text, score))
    }
    var row = DataRow(line, prompt: .text(prompt), responses: [])
    guard var best = answers.first, var worst = answers.first else {
      row.isTie = true
      return row
    }
    for answer in answers.dropFirst() {
      if answer.score > best.score { best = answer }
      if answer.score < worst.score { worst = answer }
    }
    row.responses = [.text(best.text), .text(worst.text)]
    row.isTie = best.score == worst.score
    return row
  }
}
