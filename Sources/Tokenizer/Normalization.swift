/// Unicode normalization form C (Unicode Standard Annex 15), as Hugging Face tokenizers have it.
///
/// Their tables are those of Unicode 9: a combining mark assigned later stays where it is, and
/// nothing is moved or joined across it.
enum Normalization {
  /// The bytes in form C; nil where they are already (the common case), found without a table.
  ///
  /// - Parameter bytes: valid UTF-8.
  /// - Returns: UTF-8 of the same text in form C.
  static func composed(_ bytes: [UInt8]) -> [UInt8]? {
    var index = 0
    // Below U+0300 (lead byte 0xCC) nothing changes.
    while index < bytes.count, bytes[index] < 0xCC || isStable(decodeScalar(bytes, at: index).value)
    {
      index += 1
      while index < bytes.count, bytes[index] & 0xC0 == 0x80 { index += 1 }
    }
    return index < bytes.count ? composedStretches(of: bytes) : nil
  }

  /// Normalizes stretches of characters that Unicode 9 has, and copies the others.
  private static func composedStretches(of bytes: [UInt8]) -> [UInt8] {
    var composed: [UInt8] = []
    composed.reserveCapacity(bytes.count)
    var stretchStart = 0
    var index = 0
    while index < bytes.count {
      let (value, length) = decodeScalar(bytes, at: index)
      if !isStable(value), !isInUnicode9(value) {
        composed += stretch(bytes[stretchStart..<index])
        composed += bytes[index..<index + length]
        stretchStart = index + length
      }
      index += length
    }
    return composed + stretch(bytes[stretchStart...])
  }

  /// Form C by the standard library (public, though underscored).
  ///
  /// Foundation's `precomposedStringWithCanonicalMapping` is wrong on Linux: it leaves U+AC00 U+11A8
  /// apart and misorders long runs of marks. The standard library errs on three Tibetan signs that
  /// decompose to marks only (U+0F73, U+0F75, U+0F81), so it gets their parts.
  private static func stretch(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var scalars = String.UnicodeScalarView()
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      switch scalar {
      case "\u{F73}": scalars.append(contentsOf: ["\u{F71}", "\u{F72}"])
      case "\u{F75}": scalars.append(contentsOf: ["\u{F71}", "\u{F74}"])
      case "\u{F81}": scalars.append(contentsOf: ["\u{F71}", "\u{F80}"])
      default: scalars.append(scalar)
      }
    }
    return String(scalars)._nfcCodeUnits
  }

  private static func isInUnicode9(_ codePoint: UInt32) -> Bool {
    guard let age = Unicode.Scalar(codePoint)?.properties.age else { return false }
    return age.major <= 9
  }

  /// Whether a code point is a starter that is its own form C and never the second of a pair.
  static func isStable(_ codePoint: UInt32) -> Bool {
    switch codePoint {
    case 0..<0x300, 0x0400...0x0482, 0x05D0...0x05EA, 0x0621...0x064A, 0x1E00...0x1EF9,
      0x200B...0x2027, 0x2030...0x205E, 0x20A0...0x20C0, 0x2190...0x21FF, 0x2500...0x27BF,
      0x3003...0x3029, 0x3041...0x3096, 0x30A1...0x30FA, 0x30FC...0x30FE, 0x3400...0x4DBF,
      0x4E00...0x9FFF, 0xAC00...0xD7A3, 0xFE00...0xFE0F, 0xFF01...0xFFBE, 0x1F300...0x1FAFF:
      true
    default: false
    }
  }
}
