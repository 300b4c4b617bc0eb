import Foundation

/// Unicode normalization form C (Unicode Standard Annex 15) of UTF-8 text.
enum Normalization {
  /// The bytes in form C; nil where they are already (the common case), found without a table.
  static func composed(_ bytes: [UInt8]) -> [UInt8]? {
    if isPlainlyComposed(bytes) { return nil }
    let text = String(decoding: bytes, as: UTF8.self)
    return Array(text.precomposedStringWithCanonicalMapping.utf8)
  }

  /// Whether all characters are of blocks that form C never changes or joins with a neighbour.
  private static func isPlainlyComposed(_ bytes: [UInt8]) -> Bool {
    var index = 0
    while index < bytes.count {
      // Below U+0300 (lead byte 0xCC) nothing changes.
      if bytes[index] < 0xCC {
        index += 1
        continue
      }
      let (value, length) = decodeScalar(bytes, at: index)
      guard isStable(value) else { return false }
      index += length
    }
    return true
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
