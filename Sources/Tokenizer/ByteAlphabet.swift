/// The 256 printable characters that stand for bytes in byte-level vocabularies (GPT-2's table).
///
/// Bytes 0x21–0x7E, 0xA1–0xAC and 0xAE–0xFF stand for themselves as code points; the others, in
/// ascending order, are U+0100, U+0101, ….
struct ByteAlphabet: Sendable {
  /// The alphabet, made once.
  static let standard = ByteAlphabet()

  /// The character of each byte.
  let scalars: [Unicode.Scalar]
  /// The byte of each code point below `byteOfCodePoint.count`, -1 for those that have none.
  private let byteOfCodePoint: [Int16]

  init() {
    var scalars: [Unicode.Scalar] = []
    var byteOfCodePoint = [Int16](repeating: -1, count: 0x144)
    var next: UInt8 = 0
    for byte in UInt8.min...UInt8.max {
      var scalar = Unicode.Scalar(byte)
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: break
      default:
        // At most 68 bytes have no printable form, so this stays below U+0144.
        scalar = Unicode.Scalar(UInt16(0x100) + UInt16(next)) ?? scalar
        next += 1
      }
      scalars.append(scalar)
      byteOfCodePoint[Int(scalar.value)] = Int16(byte)
    }
    self.scalars = scalars
    self.byteOfCodePoint = byteOfCodePoint
  }

  /// Bytes written in this alphabet, as UTF-8.
  func spell(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var spelled: [UInt8] = []
    for byte in bytes { spelled.append(contentsOf: UTF8.encode(scalars[Int(byte)]) ?? .init()) }
    return spelled
  }

  /// The bytes a token stands for: its characters' bytes if all are in the alphabet, else its UTF-8.
  func bytes(of token: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(token.count)
    var index = 0
    while index < token.count {
      let (value, length) = decodeScalar(token, at: index)
      guard value < 0x144, byteOfCodePoint[Int(value)] >= 0 else { return token }
      bytes.append(UInt8(truncatingIfNeeded: byteOfCodePoint[Int(value)]))
      index += length
    }
    return bytes
  }
}
