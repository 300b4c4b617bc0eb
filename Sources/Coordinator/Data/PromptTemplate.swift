import Tokenizer

/// How rows become text (`data.template`).
public struct PromptTemplate: Sendable {
  private let setting: RunConfiguration.Template
  private let chat: Result<ChatFormat, DataError>

  /// A template.
  ///
  /// - Parameters:
  ///   - setting: which one.
  ///   - chat: the chat format where a conversation needs one, or why there is none.
  public init(_ setting: RunConfiguration.Template, chat: Result<ChatFormat, DataError>) {
    self.setting = setting
    self.chat = chat
  }

  /// A row as text.
  ///
  /// - Parameter row: what a line says.
  /// - Returns: its texts.
  /// - Throws: `DataError` if the template has no place for a message, or there is none.
  public func text(of row: DataRow) throws(DataError) -> TextRow {
    switch setting {
    case .auto: return row.prompt.isConversation ? try chatText(of: row) : plainText(of: row)
    case .chat, .named: return try chatText(of: row)
    case .plain:
      guard row.prompt.isConversation else { return plainText(of: row) }
      return try turns(of: row) { turns in
        guard turns.count == 1, turns[0].answer == nil else { return nil }
        return turns[0].question
      }
    // The strings of the SAIL paper's preparation of PKU-SafeRLHF.
    case .humanAssistant:
      return try turns(of: row) { turns in
        turns.map { "Human: \($0.question)\n\nAssistant: \($0.answer.map { $0 + "\n\n" } ?? "")" }
          .joined()
      }
    // The strings of its preparation of UltraFeedback.
    case .inst:
      return try turns(of: row) { turns in
        turns.map { "[INST] \($0.question) [/INST] \($0.answer.map { $0 + " " } ?? "")" }.joined()
      }
    }
  }

  private func plainText(of row: DataRow) -> TextRow {
    func text(_ text: DataText) -> String {
      text.messages(role: "").map(\.content).joined()
    }
    return TextRow(
      row, prompt: text(row.prompt),
      responses: row.responses.map { TextRow.Response(text: text($0), shown: text($0)) },
      isTemplated: false)
  }

  private func chatText(of row: DataRow) throws(DataError) -> TextRow {
    let format: ChatFormat
    switch chat {
    case .success(let found): format = found
    case .failure(let error):
      throw DataError(row.place, "a conversation needs a chat template, but \(error.description)")
    }
    do throws(TokenizerError) {
      let question = row.prompt.messages(role: "user")
      let prompt = try format.prompt(question)
      var responses: [TextRow.Response] = []
      for response in row.responses {
        let answer = response.messages(role: "assistant")
        let text = try format.completion(answer, after: question)
        responses.append(
          TextRow.Response(text: text, shown: answer.count == 1 ? answer[0].content : text))
      }
      return TextRow(row, prompt: prompt, responses: responses, isTemplated: true)
    } catch {
      throw DataError(row.place, error.description)
    }
  }

  /// What the user said, and what the assistant answered, if it is not the turn to be answered.
  private struct Turn {
    var question: String
    var answer: String?
  }

  /// The text of a row by a template that knows the roles user and assistant, by turns.
  private func turns(
    of row: DataRow, _ write: ([Turn]) -> String?
  ) throws(DataError) -> TextRow {
    func refuse(_ messages: [ChatMessage], _ expected: String) -> DataError {
      DataError(
        row.place,
        "the template \(setting.name) has a place for \(expected), found the roles "
          + messages.map(\.role).joined(separator: ", ") + "; use auto or name a chat format")
    }
    let messages = row.prompt.messages(role: "user")
    var turns: [Turn] = []
    for (index, message) in messages.enumerated() {
      guard message.role == (index % 2 == 0 ? "user" : "assistant") else {
        throw refuse(messages, "user and assistant in turn")
      }
      if index % 2 == 0 {
        turns.append(Turn(question: message.content))
      } else {
        turns[turns.count - 1].answer = message.content
      }
    }
    guard turns.last?.answer == nil else { throw refuse(messages, "the user's message at the end") }
    guard let prompt = write(turns) else { throw refuse(messages, "one message of the user") }
    var responses: [TextRow.Response] = []
    for response in row.responses {
      let answer = response.messages(role: "assistant")
      guard answer.count == 1, answer[0].role == "assistant" else {
        throw refuse(answer, "one answer of the assistant")
      }
      responses.append(TextRow.Response(text: answer[0].content, shown: answer[0].content))
    }
    return TextRow(row, prompt: prompt, responses: responses, isTemplated: false)
  }
}
