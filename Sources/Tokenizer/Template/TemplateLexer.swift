/// A token of a template.
enum TemplateToken: Equatable, Sendable {
  /// Text outside of tags.
  case text(String)
  /// `{{` and `}}`.
  case outputBegin, outputEnd
  /// `{%` and `%}`.
  case blockBegin, blockEnd
  case name(String)
  case string(String)
  case integer(Int)
  /// An operator or a bracket.
  case symbol(String)
  case end
}

/// Cuts a Jinja template into tokens, with white space control as transformers sets it
/// (`trim_blocks` and `lstrip_blocks` on, `keep_trailing_newline` off).
struct TemplateLexer {
  private let source: [Unicode.Scalar]
  private var position = 0
  private var tokens: [TemplateToken] = []
  /// Whether what was read last ended a line.
  private var isAtLineStart = true

  static func tokens(of template: String) throws(TemplateError) -> [TemplateToken] {
    var lexer = TemplateLexer(template)
    try lexer.run()
    return lexer.tokens
  }

  private init(_ template: String) {
    var scalars: [Unicode.Scalar] = []
    for scalar in template.unicodeScalars {
      if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
      scalars.append(scalar)
    }
    source = (scalars.last == "\n" ? scalars.dropLast() : scalars[...]).map {
      $0 == "\r" ? "\n" : $0
    }
  }

  private mutating func run() throws(TemplateError) {
    while position < source.count {
      let start = position
      while position < source.count, !startsTag(position) { position += 1 }
      var text = source[start..<position]
      guard position < source.count else {
        append(text: text)
        return
      }
      let kind = source[position + 1]
      let sign = position + 2 < source.count ? source[position + 2] : " "
      if sign == "-" {
        while let last = text.last, last.isPythonSpace { text.removeLast() }
      } else if sign != "+", kind != "{" {
        stripIndentation(&text)
      }
      append(text: text)
      position += sign == "-" || (sign == "+" && kind != "{") ? 3 : 2
      isAtLineStart = false
      switch kind {
      case "#": try skipComment()
      case "%": try readTag(from: .blockBegin, to: .blockEnd, closing: "%")
      default: try readTag(from: .outputBegin, to: .outputEnd, closing: "}")
      }
    }
  }

  private func startsTag(_ index: Int) -> Bool {
    guard source[index] == "{", index + 1 < source.count else { return false }
    return ["{", "%", "#"].contains(source[index + 1])
  }

  private mutating func append(text: ArraySlice<Unicode.Scalar>) {
    if !text.isEmpty { tokens.append(.text(String(String.UnicodeScalarView(text)))) }
  }

  /// Removes white space before a block or comment that stands first in its line.
  private func stripIndentation(_ text: inout ArraySlice<Unicode.Scalar>) {
    let lineStart = text.lastIndex(of: "\n").map { $0 + 1 }
    guard lineStart != nil || isAtLineStart else { return }
    let start = lineStart ?? text.startIndex
    if text[start...].allSatisfy(\.isPythonSpace) { text = text[..<start] }
  }

  private mutating func skipComment() throws(TemplateError) {
    while position + 1 < source.count, source[position] != "#" || source[position + 1] != "}" {
      position += 1
    }
    guard position + 1 < source.count else { throw TemplateError("a comment has no end") }
    let strips = position > 0 && source[position - 1] == "-"
    position += 2
    endTag(strips: strips, trimsLineBreak: true)
  }

  private mutating func readTag(
    from begin: TemplateToken, to end: TemplateToken, closing: Unicode.Scalar
  ) throws(TemplateError) {
    tokens.append(begin)
    var depth = 0
    let start = tokens.count
    while true {
      // Expressions are evaluated recursively, and long ones nest as deep as they are long.
      guard tokens.count - start <= 600 else { throw TemplateError("a tag this long") }
      while position < source.count, source[position].isPythonSpace { position += 1 }
      guard position < source.count else { throw TemplateError("a tag has no end") }
      if depth == 0, let signLength = tagEnd(closing) {
        let sign = source[position]
        position += signLength + 2
        tokens.append(end)
        endTag(strips: sign == "-", trimsLineBreak: closing == "%" && sign != "+")
        return
      }
      let token = try readToken()
      switch token {
      case .symbol("("), .symbol("["), .symbol("{"): depth += 1
      case .symbol(")"), .symbol("]"), .symbol("}"): depth -= 1
      default: break
      }
      tokens.append(token)
    }
  }

  /// The length of the sign before the closing brackets at the position; nil if none are there.
  private func tagEnd(_ closing: Unicode.Scalar) -> Int? {
    let hasSign = source[position] == "-" || (source[position] == "+" && closing == "%")
    let start = hasSign ? position + 1 : position
    guard start + 1 < source.count, source[start] == closing, source[start + 1] == "}" else {
      return nil
    }
    return hasSign ? 1 : 0
  }

  private mutating func endTag(strips: Bool, trimsLineBreak: Bool) {
    let start = position
    if strips {
      while position < source.count, source[position].isPythonSpace { position += 1 }
    } else if trimsLineBreak, position < source.count, source[position] == "\n" {
      position += 1
    }
    isAtLineStart = position > start && source[position - 1] == "\n"
  }
}

// Inside tags.
extension TemplateLexer {
  private mutating func readToken() throws(TemplateError) -> TemplateToken {
    let first = source[position]
    if first == "'" || first == "\"" { return .string(try readString(quote: first)) }
    if first.isASCIIDigit { return .integer(try readInteger()) }
    if first == "_" || first.properties.isAlphabetic {
      let start = position
      while position < source.count,
        source[position] == "_" || source[position].isASCIIDigit
          || source[position].properties.isAlphabetic
      { position += 1 }
      return .name(String(String.UnicodeScalarView(source[start..<position])))
    }
    if position + 1 < source.count {
      let pair = String(String.UnicodeScalarView(source[position..<position + 2]))
      if ["==", "!=", ">=", "<=", "//", "**"].contains(pair) {
        position += 2
        return .symbol(pair)
      }
    }
    guard "+-*/%~<>=|.,:()[]{}".unicodeScalars.contains(first) else {
      throw TemplateError("the character \(first.debugDescription) in a tag")
    }
    position += 1
    return .symbol(String(Character(first)))
  }

  private mutating func readInteger() throws(TemplateError) -> Int {
    let start = position
    while position < source.count, source[position].isASCIIDigit || source[position] == "_" {
      position += 1
    }
    let digits = source[start..<position].filter { $0 != "_" }
    let isFraction =
      position + 1 < source.count && source[position] == "." && source[position + 1].isASCIIDigit
    guard !isFraction, let value = Int(String(String.UnicodeScalarView(digits))) else {
      throw TemplateError("a number that is no integer of 64 bits")
    }
    return value
  }

  private mutating func readString(quote: Unicode.Scalar) throws(TemplateError) -> String {
    var text = String.UnicodeScalarView()
    position += 1
    while position < source.count, source[position] != quote {
      guard source[position] == "\\" else {
        text.append(source[position])
        position += 1
        continue
      }
      guard position + 1 < source.count else { break }
      let escaped = source[position + 1]
      position += 2
      switch escaped {
      case "n": text.append("\n")
      case "t": text.append("\t")
      case "r": text.append("\r")
      case "\\", "'", "\"": text.append(escaped)
      case "\n": break
      case "x": text.append(try readHexadecimal(digitCount: 2))
      case "u": text.append(try readHexadecimal(digitCount: 4))
      case "U": text.append(try readHexadecimal(digitCount: 8))
      case "a", "b", "f", "v", "N", "0"..."7":
        throw TemplateError("the escape \\\(escaped) in a string")
      default: text.append(contentsOf: ["\\", escaped])
      }
    }
    guard position < source.count else { throw TemplateError("a string has no end") }
    position += 1
    return String(text)
  }

  private mutating func readHexadecimal(digitCount: Int) throws(TemplateError) -> Unicode.Scalar {
    let end = position + digitCount
    guard end <= source.count,
      source[position..<end].allSatisfy({ $0.properties.isASCIIHexDigit }),
      let value = UInt32(String(String.UnicodeScalarView(source[position..<end])), radix: 16),
      let scalar = Unicode.Scalar(value)
    else { throw TemplateError("an escape in a string that names no character") }
    position = end
    return scalar
  }
}

extension Unicode.Scalar {
  /// Whether Python's `str.isspace` holds: Unicode's White_Space and U+001C to U+001F.
  var isPythonSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }

  var isASCIIDigit: Bool { (0x30...0x39).contains(value) }
}
