/// A message of a conversation.
public struct ChatMessage: Sendable, Equatable {
  /// Who speaks: `system`, `user`, `assistant` or another role that the format knows.
  public var role: String
  /// What is said.
  public var content: String

  /// A message from its parts.
  public init(role: String, content: String) {
    self.role = role
    self.content = content
  }
}

/// How a conversation becomes text: a chat template, the model's own or one given by name.
///
/// Templates are rendered as transformers' `apply_chat_template` does it (Jinja with its settings);
/// of the language, what chat templates use is implemented, and all else is refused by name when
/// the template is read.
public struct ChatFormat: Sendable, Equatable {
  /// The format's name; `chat_template` for a model's own.
  public let name: String
  private let template: String
  private let bosToken: String
  private let eosToken: String
  private let source: String
  private let statements: [TemplateStatement]

  /// Names that `named` knows, for error messages.
  public static let names = NamedTemplates.all.map(\.name)

  /// A format by its name.
  ///
  /// - Parameters:
  ///   - name: one of `names`.
  ///   - bosToken: the text of the token that begins a text, "" if the tokenizer has none.
  ///   - eosToken: the text of the token that ends one, likewise.
  /// - Returns: the format, nil for another name.
  public static func named(_ name: String, bosToken: String, eosToken: String) -> ChatFormat? {
    guard let template = NamedTemplates.all.first(where: { $0.name == name })?.template else {
      return nil
    }
    return try? ChatFormat(
      name: name, template: template, bosToken: bosToken, eosToken: eosToken,
      source: "the chat format \(name)")
  }

  /// The format of a model's own chat template.
  ///
  /// - Parameters:
  ///   - chatTemplate: the Jinja text under `chat_template`.
  ///   - bosToken: the text of the token that begins a text, "" if the tokenizer has none.
  ///   - eosToken: the text of the token that ends one, likewise.
  ///   - source: the file's name, for messages.
  /// - Throws: `TokenizerError` if the template uses what is not implemented, or cannot render a
  ///   conversation.
  public init(recognizing chatTemplate: String, bosToken: String, eosToken: String, source: String)
    throws(TokenizerError)
  {
    do throws(TemplateError) {
      try self.init(
        name: "chat_template", template: chatTemplate, bosToken: bosToken, eosToken: eosToken,
        source: source)
      // What a template cannot do shows in the shortest conversation already.
      let question = ChatMessage(role: "user", content: "Hello")
      _ = try render([question], addGenerationPrompt: true)
      _ = try render(
        [question, ChatMessage(role: "assistant", content: "Hi")], addGenerationPrompt: false)
    } catch {
      throw TokenizerError(
        description: "\(source): chat_template: expected a template that can be followed exactly,"
          + " found one that cannot (\(error.reason)); name a format instead, with data.template"
          + " or --template: \(ChatFormat.names.joined(separator: " | "))")
    }
  }

  private init(
    name: String, template: String, bosToken: String, eosToken: String, source: String
  ) throws(TemplateError) {
    self.name = name
    self.template = template
    self.bosToken = bosToken
    self.eosToken = eosToken
    self.source = source
    statements = try TemplateParser.statements(of: template)
  }

  /// Whether two formats give the same text for every conversation because they are written alike.
  public static func == (left: ChatFormat, right: ChatFormat) -> Bool {
    func bytes(_ format: ChatFormat) -> [UTF8Bytes] {
      [format.name, format.template, format.bosToken, format.eosToken].map { UTF8Bytes($0) }
    }
    return bytes(left) == bytes(right)
  }

  /// The text up to where the assistant's answer begins, the template's own opening of it included.
  ///
  /// - Parameter messages: the conversation so far; the last message is not the assistant's.
  /// - Returns: the text, with the tokens that the template writes (a BOS may be among them).
  /// - Throws: `TokenizerError` naming the message that the template has no place for.
  public func prompt(_ messages: [ChatMessage]) throws(TokenizerError) -> String {
    guard let last = messages.last else {
      throw failure("a conversation needs a message before the answer, found none")
    }
    guard last.role != "assistant" else {
      throw failure(
        "message \(messages.count) of the prompt is the assistant's; expected the user's, so that"
          + " an answer can follow")
    }
    return try text(of: messages, addGenerationPrompt: true)
  }

  /// The text of an answer, with the template's own ending.
  ///
  /// - Parameters:
  ///   - messages: the answer's messages, the assistant's first.
  ///   - prompt: the messages before.
  /// - Returns: what the whole conversation's text has after `prompt(prompt)`.
  /// - Throws: `TokenizerError` naming the message that the template has no place for, or if the
  ///   whole text does not begin with the prompt's.
  public func completion(_ messages: [ChatMessage], after prompt: [ChatMessage])
    throws(TokenizerError) -> String
  {
    guard let first = messages.first else { throw failure("an answer needs a message, found none") }
    guard first.role == "assistant" else {
      throw failure(
        "message \(prompt.count + 1) has the role \"\(first.role)\"; expected \"assistant\", as an"
          + " answer begins there")
    }
    let opening = try self.prompt(prompt)
    let whole = try text(of: prompt + messages, addGenerationPrompt: false)
    guard whole.utf8.starts(with: opening.utf8) else {
      throw failure(
        "the text of a conversation does not begin with its prompt's text, so the answer cannot"
          + " be told from the prompt; name another format")
    }
    return String(decoding: whole.utf8.dropFirst(opening.utf8.count), as: UTF8.self)
  }

  private func failure(_ what: String) -> TokenizerError {
    TokenizerError(description: "\(source): \(what)")
  }

  /// The template's text of messages, none of which it may pass over.
  private func text(of messages: [ChatMessage], addGenerationPrompt: Bool)
    throws(TokenizerError) -> String
  {
    do throws(TemplateError) {
      let text = try render(messages, addGenerationPrompt: addGenerationPrompt)
      try checkPlaces(of: messages, addGenerationPrompt)
      return text
    } catch {
      let roles = messages.map(\.role)
      throw failure(
        "message \(refusedCount(messages)) of \(messages.count) cannot be written"
          + " (\(error.reason)); the roles are \(roles.joined(separator: ", "))")
    }
  }

  /// The number of messages in the shortest beginning of a conversation that is refused.
  private func refusedCount(_ messages: [ChatMessage]) -> Int {
    let count = messages.indices.first { last in
      let beginning = Array(messages[...last])
      guard (try? render(beginning, addGenerationPrompt: false)) != nil else { return true }
      return (try? checkPlaces(of: beginning, false)) == nil
    }
    return (count ?? messages.count - 1) + 1
  }

  private func render(_ messages: [ChatMessage], addGenerationPrompt: Bool) throws(TemplateError)
    -> String
  {
    let list = messages.map { message in
      TemplateValue.dictionary([
        ("role", .string(message.role)), ("content", .string(message.content)),
      ])
    }
    return try TemplateRenderer.text(
      of: statements,
      variables: [
        "messages": .list(list), "add_generation_prompt": .boolean(addGenerationPrompt),
        "bos_token": .string(bosToken), "eos_token": .string(eosToken), "tools": .none,
        "documents": .none,
      ])
  }

  /// Refuses a conversation of which the template leaves a message out, as many do with roles that
  /// they do not know.
  private func checkPlaces(of messages: [ChatMessage], _ addGenerationPrompt: Bool)
    throws(TemplateError)
  {
    // Marks in the place of contents, for a template may change those: it may trim them.
    let marked = messages.indices.map { index in
      ChatMessage(role: messages[index].role, content: "\u{E000}\(index)\u{E001}")
    }
    let markedText = try render(marked, addGenerationPrompt: addGenerationPrompt)
    for (index, message) in marked.enumerated()
    where !UTF8Bytes(markedText).contains(UTF8Bytes(message.content)) {
      throw TemplateError(
        "the template has no place for the role \"\(message.role)\" of message \(index + 1)")
    }
  }
}
