/// What the split patterns ask of a character.
enum CharacterClass {
  /// `\p{L}`.
  case letter
  /// `\p{N}`.
  case number
  /// `\s` without carriage return and line feed.
  case space
  /// Carriage return or line feed.
  case lineBreak
  /// Everything else.
  case other

  /// The class of a code point under Unicode 16, the version of Hugging Face tokenizers 0.23.
  ///
  /// Letters and numbers assigned later count as `other`, whatever Unicode the Swift runtime has.
  @inline(__always)
  init(_ codePoint: UInt32) {
    switch codePoint {
    case 0x61...0x7A, 0x41...0x5A: self = .letter
    case 0x30...0x39: self = .number
    case 0x0A, 0x0D: self = .lineBreak
    case 0x20, 0x09, 0x0B, 0x0C: self = .space
    case 0..<0x80: self = .other
    case 0x4E00...0x9FFF, 0xAC00...0xD7A3, 0x3041...0x3096, 0x0400...0x0481: self = .letter
    default: self.init(beyondASCII: codePoint)
    }
  }

  private init(beyondASCII codePoint: UInt32) {
    guard let properties = Unicode.Scalar(codePoint)?.properties else {
      self = .other
      return
    }
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
      self = CharacterClass.isKnown(properties) ? .letter : .other
    case .decimalNumber, .letterNumber, .otherNumber:
      self = CharacterClass.isKnown(properties) ? .number : .other
    default: self = properties.isWhitespace ? .space : .other
    }
  }

  /// Whether a character was assigned by Unicode 16.
  private static func isKnown(_ properties: Unicode.Scalar.Properties) -> Bool {
    (properties.age?.major ?? 0) <= 16
  }

  /// Whether a code point is `\s`.
  static func isWhitespace(_ codePoint: UInt32) -> Bool {
    switch CharacterClass(codePoint) {
    case .space, .lineBreak: true
    case .letter, .number, .other: false
    }
  }

  /// Whether a code point is `\w`: alphabetic, a mark, a decimal digit, a connector or a joiner
  /// (Unicode Technical Standard 18, annex C).
  static func isWordCharacter(_ codePoint: UInt32) -> Bool {
    guard let properties = Unicode.Scalar(codePoint)?.properties, isKnown(properties) else {
      return false
    }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
      return true
    default: return properties.isAlphabetic || properties.isJoinControl
    }
  }
}
