import CXXHash

/// A running XXH3 hash of 128 bits.
struct Digest: ~Copyable {
  private let state: OpaquePointer?

  init() {
    state = XXH3_createState()
    precondition(state != nil, "no memory for a hash state")
    XXH3_128bits_reset(state)
  }

  /// Appends bytes to what is hashed.
  func update(_ bytes: UnsafeRawBufferPointer) {
    XXH3_128bits_update(state, bytes.baseAddress, bytes.count)
  }

  /// The hash so far: 32 hex digits, the high half first, as `xxh128sum` prints it.
  var hexadecimal: String {
    let hash = XXH3_128bits_digest(state)
    return hexadecimalDigits(hash.high64) + hexadecimalDigits(hash.low64)
  }

  deinit { XXH3_freeState(state) }
}

/// The content of a file, in short.
public struct FileDigest: Sendable, Equatable {
  /// XXH3, 128 bits, as 32 lower-case hex digits.
  public let digest: String
  /// The size in bytes.
  public let size: Int
}

/// The XXH3 hash (128 bits) of a file's bytes as 32 lower-case hex digits.
public func digest(ofFile path: String) throws(CheckpointError) -> String {
  try digest(of: InputFile(path: path)).digest
}

/// The digest of an open file, read in pieces.
func digest(of file: borrowing InputFile) throws(CheckpointError) -> FileDigest {
  let running = Digest()
  let pieceBytes = min(max(file.size, 1), 1 << 22)
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 64)
  defer { buffer.deallocate() }
  var offset = 0
  while offset < file.size {
    let piece = UnsafeMutableRawBufferPointer(
      rebasing: buffer[..<min(pieceBytes, file.size - offset)])
    try file.read(into: piece, at: offset)
    running.update(UnsafeRawBufferPointer(piece))
    offset += piece.count
  }
  return FileDigest(digest: running.hexadecimal, size: file.size)
}

/// The XXH3 hash (128 bits) of bytes in memory as 32 lower-case hex digits.
public func digest(ofBytes bytes: [UInt8]) -> String {
  let running = Digest()
  bytes.withUnsafeBytes { running.update($0) }
  return running.hexadecimal
}

private func hexadecimalDigits(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.utf8.count) + digits
}
