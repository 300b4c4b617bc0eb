import JSONText

/// Takes typed values out of a tokenizer.json and words what is wrong with them.
struct FieldReader: Sendable {
  /// The file's name, for messages.
  let source: String

  /// An error about one place of the file.
  func failure(_ path: String, expected: String, found: String, advice: String? = nil)
    -> TokenizerError
  {
    let end = advice.map { "; \($0)" } ?? ""
    return TokenizerError(
      description: "\(source): \(path): expected \(expected), found \(found)\(end)")
  }

  /// An error about a part of the format that is not implemented.
  func notImplemented(_ path: String, _ what: String, supported: String) -> TokenizerError {
    TokenizerError(
      description: "\(source): \(path): \(what) is not implemented; supported: \(supported)."
        + " Use a BPE tokenizer.json, such as those of Qwen, Llama, Mistral and Phi-3")
  }

  /// A short form of a value for messages.
  func show(_ value: JSON?) -> String {
    guard let value else { return "nothing" }
    switch value {
    case .null, .boolean, .integer, .number: return value.text
    case .string(let text): return quote(text)
    case .array, .object: return value.kind
    }
  }

  /// A text in quotation marks, cut after 60 characters.
  func quote(_ text: String) -> String {
    let head = String(String.UnicodeScalarView(text.unicodeScalars.prefix(60)))
    return JSON.string(head.utf8.count < text.utf8.count ? head + "…" : head).text
  }

  /// The array under a key of an object.
  func elements(_ object: JSON, _ key: String, at path: String) throws(TokenizerError) -> [JSON] {
    guard let elements = object[key]?.elements else {
      throw failure("\(path).\(key)", expected: "an array", found: show(object[key]))
    }
    return elements
  }

  /// The string under a key of an object.
  func string(_ object: JSON, _ key: String, at path: String) throws(TokenizerError) -> String {
    guard let text = object[key]?.string else {
      throw failure("\(path).\(key)", expected: "a string", found: show(object[key]))
    }
    return text
  }

  /// The truth value under a key of an object; absent or null is the default if there is one.
  func boolean(_ object: JSON, _ key: String, at path: String, default absent: Bool? = nil)
    throws(TokenizerError) -> Bool
  {
    if object[key]?.isNull ?? true, let absent { return absent }
    guard let value = object[key]?.boolean else {
      throw failure("\(path).\(key)", expected: "true or false", found: show(object[key]))
    }
    return value
  }

  /// A token id: an integer from 0 to 2³¹ − 1.
  func id(_ value: JSON?, at path: @autoclosure () -> String) throws(TokenizerError) -> Int32 {
    guard let integer = value?.integer, integer >= 0, let id = Int32(exactly: integer) else {
      throw failure(path(), expected: "an id from 0 to \(Int32.max)", found: show(value))
    }
    return id
  }

  /// The `type` of a component such as a normalizer.
  func type(of component: JSON, at path: String) throws(TokenizerError) -> String {
    guard component.members != nil else {
      throw failure(path, expected: "an object with a \"type\", or null", found: show(component))
    }
    return try string(component, "type", at: path)
  }

  /// A component's parts: the members of a `Sequence`, nested ones too, or the component itself.
  ///
  /// - Parameters:
  ///   - component: the value in the file; absent and null have no parts.
  ///   - list: the key under which a `Sequence` of this kind has its parts.
  ///   - path: where it is.
  ///   - depth: how many sequences it may be nested in more.
  /// - Returns: the parts in order, with their types and places.
  /// - Throws: `TokenizerError` if a part is not an object with a `type`, or nested too deeply.
  func parts(_ component: JSON?, list: String, at path: String, depth: Int = 8)
    throws(TokenizerError) -> [Part]
  {
    guard let component, !component.isNull else { return [] }
    let type = try type(of: component, at: path)
    guard type == "Sequence" else { return [Part(value: component, type: type, path: path)] }
    guard depth > 0 else {
      throw notImplemented(path, "a Sequence this deep", supported: "8 in each other")
    }
    var parts: [Part] = []
    for (index, element) in try elements(component, list, at: path).enumerated() {
      if element.isNull {
        throw failure("\(path).\(list)[\(index)]", expected: "an object", found: "null")
      }
      let place = "\(path).\(list)[\(index)]"
      parts += try self.parts(element, list: list, at: place, depth: depth - 1)
    }
    return parts
  }

  /// One component, `Sequence` excluded.
  struct Part {
    let value: JSON
    let type: String
    let path: String
  }
}
