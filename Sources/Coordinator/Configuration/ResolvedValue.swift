/// A value of a resolved run file, ready to be written or compared.
enum ResolvedValue: Equatable {
  /// A scalar as YAML writes it.
  case scalar(String)
  case list([ResolvedValue])
  case mapping([Entry])

  /// One key of a mapping with its value.
  struct Entry: Equatable {
    let key: String
    let value: ResolvedValue
  }

  /// An absent value.
  static let none = ResolvedValue.scalar("null")

  /// A whole number.
  static func number(_ value: some BinaryInteger) -> ResolvedValue { .scalar("\(value)") }

  /// A number in its shortest form that reads back to the same bits, with a point for YAML 1.1.
  static func number(_ value: Double) -> ResolvedValue {
    let text = "\(value)"
    guard let exponent = text.firstIndex(of: "e"), !text.contains(".") else { return .scalar(text) }
    return .scalar(text[..<exponent] + ".0" + text[exponent...])
  }

  /// True or false.
  static func truth(_ value: Bool) -> ResolvedValue { .scalar(value ? "true" : "false") }

  /// One of a list of choices.
  static func choice(_ value: some RawRepresentable<String>) -> ResolvedValue {
    .text(value.rawValue)
  }

  /// A text, quoted wherever a YAML reader could take it for something else; nil is absent.
  static func text(_ text: String?) -> ResolvedValue {
    guard let text else { return .none }
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
    let isPlain = text.unicodeScalars.allSatisfy { scalar in
      scalar.isASCII
        && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
          || "_./-".unicodeScalars.contains(scalar))
    }
    let startsPlain = text.unicodeScalars.first.map { $0.properties.isAlphabetic || $0 == "/" }
    if isPlain, startsPlain == true, !words.contains(text.lowercased()) { return .scalar(text) }
    return .scalar("\"" + text.unicodeScalars.map(escaped).joined() + "\"")
  }

  private static func escaped(_ scalar: Unicode.Scalar) -> String {
    switch scalar.value {
    case 0x22: return "\\\""
    case 0x5C: return "\\\\"
    case 0x20...0x7E, 0xA1...0x2027, 0x202A...0xD7FF, 0xE000...0xFEFE, 0xFF00...0xFFFD:
      return String(scalar)
    default:
      let digits = String(scalar.value, radix: 16)
      return "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
    }
  }

  /// The value as YAML: mappings as blocks, lists in brackets.
  ///
  /// - Parameter indent: the spaces before each line of a mapping.
  /// - Returns: the text; for a mapping, whole lines.
  func yaml(indent: Int = 0) -> String {
    switch self {
    case .scalar(let text): return text
    case .list(let elements):
      return "[" + elements.map(\.inline).joined(separator: ", ") + "]"
    case .mapping(let entries):
      return entries.map { entry in
        let key = String(repeating: " ", count: indent) + entry.key + ":"
        if case .mapping = entry.value { return key + "\n" + entry.value.yaml(indent: indent + 2) }
        return key + " " + entry.value.yaml() + "\n"
      }.joined()
    }
  }

  /// The value as YAML on one line.
  private var inline: String {
    guard case .mapping(let entries) = self else { return yaml() }
    return "{" + entries.map { "\($0.key): \($0.value.inline)" }.joined(separator: ", ") + "}"
  }
}

extension ResolvedValue: ExpressibleByDictionaryLiteral {
  /// A mapping, keys in the written order.
  init(dictionaryLiteral elements: (String, ResolvedValue)...) {
    self = .mapping(elements.map { Entry(key: $0.0, value: $0.1) })
  }
}
