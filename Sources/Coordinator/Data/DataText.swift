import JSONText
import Tokenizer

/// A text of a data line: a string, or the messages of a conversation.
public enum DataText: Sendable {
  /// A string, taken as it is.
  case text(String)
  /// Messages, which a template makes a text of.
  case conversation([ChatMessage])

  /// As a data line has it.
  public var json: JSON {
    switch self {
    case .text(let text): .string(text)
    case .conversation(let messages):
      .array(
        messages.map { ["role": .string($0.role), "content": .string($0.content)] })
    }
  }

  /// Its messages; a string is one message of a role.
  public func messages(role: String) -> [ChatMessage] {
    switch self {
    case .text(let text): [ChatMessage(role: role, content: text)]
    case .conversation(let messages): messages
    }
  }

  var isConversation: Bool {
    if case .conversation = self { return true }
    return false
  }
}

extension ChatMessage {
  /// Whether two messages have the same bytes; `==` would take composed characters for decomposed.
  func isIdentical(to other: ChatMessage) -> Bool {
    role.utf8.elementsEqual(other.role.utf8) && content.utf8.elementsEqual(other.content.utf8)
  }
}

extension DataLine {
  /// Whether the object has a key with something under it.
  func has(_ key: String) -> Bool { object[key].map { !$0.isNull } ?? false }

  /// What is under a required key.
  func value(_ key: String) throws(DataError) -> JSON {
    guard let value = object[key] else {
      throw DataError(place, "the key \"\(key)\" is missing")
    }
    return value
  }

  /// The string under a required key.
  ///
  /// - Parameter key: the key.
  /// - Returns: the string.
  /// - Throws: `DataError` if it is missing or anything else but a string.
  func string(_ key: String) throws(DataError) -> String {
    let value = try value(key)
    guard let text = value.string else {
      throw DataError(place, "\"\(key)\" must be a string, found \(value.kind)")
    }
    return text
  }

  /// The number under a key, nil if it is absent or null.
  func number(_ key: String) throws(DataError) -> Double? {
    guard has(key), let value = object[key] else { return nil }
    guard let number = value.number else {
      throw DataError(place, "\"\(key)\" must be a number, found \(value.kind)")
    }
    return number
  }

  /// The string or conversation under a required key.
  ///
  /// - Parameter key: the key.
  /// - Returns: the text.
  /// - Throws: `DataError` if it is missing, or neither a string nor a list of messages.
  func text(_ key: String) throws(DataError) -> DataText {
    let value = try value(key)
    if let text = value.string { return .text(text) }
    guard value.elements != nil else {
      throw DataError(
        place, "\"\(key)\" must be a string or a list of messages, found \(value.kind)")
    }
    return .conversation(try conversation(key))
  }

  /// The conversation under a required key: a list of `{"role": …, "content": …}`, at least one.
  func conversation(_ key: String) throws(DataError) -> [ChatMessage] {
    let value = try value(key)
    guard let elements = value.elements, !elements.isEmpty else {
      throw DataError(
        place,
        "\"\(key)\" must be a list of messages, at least one, found "
          + (value.elements == nil ? value.kind : "none"))
    }
    var messages: [ChatMessage] = []
    for (index, element) in elements.enumerated() {
      func refuse(_ part: String) -> DataError {
        DataError(
          place,
          "message \(index + 1) of \"\(key)\" must have a \"\(part)\" that is a string, found "
            + (element.members == nil ? element.kind : element[part]?.kind ?? "none"))
      }
      guard let role = element["role"]?.string else { throw refuse("role") }
      guard let content = element["content"]?.string else { throw refuse("content") }
      messages.append(ChatMessage(role: role, content: content))
    }
    return messages
  }
}
