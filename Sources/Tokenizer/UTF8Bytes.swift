/// Text as UTF-8 bytes: equal only if every byte is.
///
/// `String` compares by canonical equivalence, so U+212B and U+00C5 would be one dictionary key.
struct UTF8Bytes: Hashable, Sendable {
  let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  init(_ text: String) { bytes = Array(text.utf8) }

  func hash(into hasher: inout Hasher) {
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
  }
}

/// The Unicode scalar whose UTF-8 form starts at an index, and how many bytes it takes.
///
/// - Parameters:
///   - bytes: valid UTF-8, as `String.utf8` yields it.
///   - index: the first byte of a scalar.
/// - Returns: the scalar's value and its length in bytes (1 to 4).
@inline(__always)
func decodeScalar(_ bytes: [UInt8], at index: Int) -> (value: UInt32, length: Int) {
  let first = UInt32(bytes[index])
  if first < 0x80 { return (first, 1) }
  func continuation(_ offset: Int) -> UInt32 { UInt32(bytes[index + offset] & 0x3F) }
  if first < 0xE0 { return ((first & 0x1F) << 6 | continuation(1), 2) }
  if first < 0xF0 { return ((first & 0x0F) << 12 | continuation(1) << 6 | continuation(2), 3) }
  return (
    (first & 0x07) << 18 | continuation(1) << 12 | continuation(2) << 6 | continuation(3), 4
  )
}

/// The Unicode scalar whose UTF-8 form ends before an index, and where it starts.
///
/// - Parameters:
///   - bytes: valid UTF-8.
///   - end: the index after a scalar's last byte, more than 0.
/// - Returns: the scalar's value and the index of its first byte.
func decodeScalar(_ bytes: [UInt8], before end: Int) -> (value: UInt32, start: Int) {
  var start = end - 1
  while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
  return (decodeScalar(bytes, at: start).value, start)
}

extension UTF8Bytes {
  /// Whether other bytes stand somewhere in these.
  func contains(_ part: UTF8Bytes) -> Bool {
    guard let first = part.bytes.first else { return true }
    guard part.bytes.count <= bytes.count else { return false }
    return (0...bytes.count - part.bytes.count).contains { start in
      bytes[start] == first
        && bytes[start..<start + part.bytes.count].elementsEqual(part.bytes)
    }
  }
}
