extension JSON {
  /// The value as compact JSON text on one line, keys in order, doubles in their shortest form.
  ///
  /// JSON has no infinities and no NaN: they are written as `null`.
  public var text: String {
    var out: [UInt8] = []
    append(to: &out, indent: nil, depth: 0)
    return String(decoding: out, as: UTF8.self)
  }

  /// The value as JSON text over several lines, two spaces a level.
  public var indentedText: String {
    var out: [UInt8] = []
    append(to: &out, indent: 2, depth: 0)
    return String(decoding: out, as: UTF8.self)
  }

  private func append(to out: inout [UInt8], indent: Int?, depth: Int) {
    func newline(_ depth: Int) {
      guard let indent else { return }
      out.append(UInt8(ascii: "\n"))
      out.append(contentsOf: repeatElement(UInt8(ascii: " "), count: indent * depth))
    }
    switch self {
    case .null: out.append(contentsOf: "null".utf8)
    case .boolean(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
    case .integer(let value): out.append(contentsOf: String(value).utf8)
    case .number(let value):
      out.append(contentsOf: (value.isFinite ? "\(value)" : "null").utf8)
    case .string(let text): JSON.appendQuoted(text, to: &out)
    case .array(let elements):
      out.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { out.append(contentsOf: (indent == nil ? ", " : ",").utf8) }
        newline(depth + 1)
        element.append(to: &out, indent: indent, depth: depth + 1)
      }
      if !elements.isEmpty { newline(depth) }
      out.append(UInt8(ascii: "]"))
    case .object(let members):
      out.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { out.append(contentsOf: (indent == nil ? ", " : ",").utf8) }
        newline(depth + 1)
        JSON.appendQuoted(member.key, to: &out)
        out.append(contentsOf: ": ".utf8)
        member.value.append(to: &out, indent: indent, depth: depth + 1)
      }
      if !members.isEmpty { newline(depth) }
      out.append(UInt8(ascii: "}"))
    }
  }

  private static func appendQuoted(_ text: String, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): out.append(contentsOf: "\\\"".utf8)
      case UInt8(ascii: "\\"): out.append(contentsOf: "\\\\".utf8)
      case UInt8(ascii: "\n"): out.append(contentsOf: "\\n".utf8)
      case UInt8(ascii: "\r"): out.append(contentsOf: "\\r".utf8)
      case UInt8(ascii: "\t"): out.append(contentsOf: "\\t".utf8)
      case 0..<0x20:
        let hex = String(byte, radix: 16)
        out.append(contentsOf: "\\u00\(hex.count == 1 ? "0" : "")\(hex)".utf8)
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral
{
  /// A string.
  public init(stringLiteral value: String) { self = .string(value) }
  /// An integer.
  public init(integerLiteral value: Int64) { self = .integer(value) }
  /// A number.
  public init(floatLiteral value: Double) { self = .number(value) }
  /// A truth value.
  public init(booleanLiteral value: Bool) { self = .boolean(value) }
  /// An array.
  public init(arrayLiteral elements: JSON...) { self = .array(elements) }
  /// An object, keys in the written order.
  public init(dictionaryLiteral elements: (String, JSON)...) {
    self = .object(elements.map { Member(key: $0.0, value: $0.1) })
  }
}
