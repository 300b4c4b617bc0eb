/// Little-endian numbers and byte strings, taken one after the other from the front of some bytes.
public struct ByteFields {
  /// What was not taken yet.
  public private(set) var rest: ArraySlice<UInt8>

  /// All of some bytes.
  public init(_ bytes: [UInt8]) { rest = bytes[...] }

  /// Whether nothing is left.
  public var isAtEnd: Bool { rest.isEmpty }

  /// The next bytes, nil if there are not so many.
  public mutating func bytes(count: Int) -> ArraySlice<UInt8>? {
    guard count <= rest.count else { return nil }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }

  /// The next number without a sign, nil if it is not there or beyond `Int`.
  public mutating func integer(byteCount: Int) -> Int? {
    guard let bytes = bytes(count: byteCount) else { return nil }
    return Int(exactly: bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }
}
