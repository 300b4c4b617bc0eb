import CZlib
import CZstd

/// A file's content from first byte to last, decompressed where its first bytes say gzip or zstd.
///
/// The name does not matter. Reads in pieces; concatenated gzip members and zstd frames are one
/// content, as `zcat` and `zstdcat` have it.
public final class DecompressedInput {
  /// How the content is stored.
  private enum Storage {
    case plain
    case gzip(UnsafeMutablePointer<z_stream>)
    case zstd(OpaquePointer)
  }

  /// The file.
  public let path: String
  /// The bytes of the file, as it is stored.
  public var storedBytes: Int { file.size }
  /// How many of them were read so far.
  public private(set) var readBytes = 0

  private let file: InputFile
  private let storage: Storage
  private let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
  /// What of `piece` is not used up.
  private var waiting = 0..<0
  /// Whether a gzip member or zstd frame has begun and not ended.
  private var isInside = false

  /// Opens a regular file.
  ///
  /// - Parameter path: the file.
  /// - Throws: `CheckpointError` if it cannot be read.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    file = try InputFile(path: path)
    let magic = try file.bytes(count: min(4, file.size), at: 0)
    if magic.starts(with: [0x1F, 0x8B]) {
      let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
      stream.initialize(to: z_stream())
      precondition(sail_gzip_begin(stream) == Z_OK, "no memory for a gzip reader")
      storage = .gzip(stream)
    } else if magic == [0x28, 0xB5, 0x2F, 0xFD] {
      guard let stream = ZSTD_createDStream() else {
        preconditionFailure("no memory for a zstd reader")
      }
      storage = .zstd(stream)
    } else {
      storage = .plain
    }
  }

  deinit {
    piece.deallocate()
    switch storage {
    case .plain: break
    case .gzip(let stream):
      inflateEnd(stream)
      stream.deallocate()
    case .zstd(let stream): ZSTD_freeDStream(stream)
    }
  }

  /// Fills a buffer with the next bytes of the content, as far as they go.
  ///
  /// - Parameter buffer: where they go; not empty.
  /// - Returns: the number of bytes, 0 only at the end of the content.
  /// - Throws: `CheckpointError` if the file cannot be read, is damaged or ends early.
  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(CheckpointError) -> Int {
    switch storage {
    case .plain:
      let count = min(buffer.count, file.size - readBytes)
      try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]), at: readBytes)
      readBytes += count
      return count
    case .gzip(let stream): return try inflate(stream, into: buffer)
    case .zstd(let stream): return try decompress(stream, into: buffer)
    }
  }

  /// Reads on if nothing waits; false at the end of the file.
  private func refill() throws(CheckpointError) -> Bool {
    guard waiting.isEmpty else { return true }
    let count = min(piece.count, file.size - readBytes)
    guard count > 0 else { return false }
    try file.read(into: UnsafeMutableRawBufferPointer(rebasing: piece[..<count]), at: readBytes)
    readBytes += count
    waiting = 0..<count
    return true
  }

  private func inflate(
    _ stream: UnsafeMutablePointer<z_stream>, into buffer: UnsafeMutableRawBufferPointer
  ) throws(CheckpointError) -> Int {
    while try refill() {
      if !isInside {
        // Writers to tapes and blocks pad with zeros after the last member.
        while let byte = waiting.first, piece[byte] == 0, readBytes > waiting.count {
          waiting.removeFirst()
        }
        if waiting.isEmpty { continue }
        inflateReset(stream)
        isInside = true
      }
      let output = buffer.bindMemory(to: UInt8.self)
      stream.pointee.next_in = piece.baseAddress?.advanced(by: waiting.lowerBound)
        .assumingMemoryBound(to: UInt8.self)
      stream.pointee.avail_in = UInt32(waiting.count)
      stream.pointee.next_out = output.baseAddress
      stream.pointee.avail_out = UInt32(clamping: output.count)
      let room = Int(stream.pointee.avail_out)
      let code = CZlib.inflate(stream, Z_NO_FLUSH)
      waiting = waiting.upperBound - Int(stream.pointee.avail_in)..<waiting.upperBound
      if code == Z_STREAM_END { isInside = false }
      guard code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR else {
        throw damaged("gzip", stream.pointee.msg.map { String(cString: $0) } ?? "code \(code)")
      }
      let count = room - Int(stream.pointee.avail_out)
      if count > 0 { return count }
    }
    if isInside { throw endsEarly("gzip") }
    return 0
  }

  private func decompress(
    _ stream: OpaquePointer, into buffer: UnsafeMutableRawBufferPointer
  ) throws(CheckpointError) -> Int {
    // What the decoder still holds comes out with an empty input too.
    while try refill() || isInside {
      var input = ZSTD_inBuffer(src: piece.baseAddress, size: waiting.upperBound, pos: 0)
      input.pos = waiting.lowerBound
      var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
      let code = ZSTD_decompressStream(stream, &output, &input)
      guard ZSTD_isError(code) == 0 else {
        throw damaged("zstd", String(cString: ZSTD_getErrorName(code)))
      }
      let isStuck = input.pos == waiting.lowerBound && output.pos == 0
      waiting = input.pos..<waiting.upperBound
      isInside = code != 0
      if output.pos > 0 { return output.pos }
      if isStuck, waiting.isEmpty, readBytes == file.size { throw endsEarly("zstd") }
    }
    return 0
  }

  private func endsEarly(_ kind: String) -> CheckpointError {
    CheckpointError(
      "\(path): the \(kind) data ends early, after \(readBytes) bytes, expected more: the file was "
        + "cut off; download or compress it again")
  }

  private func damaged(_ kind: String, _ reason: String) -> CheckpointError {
    CheckpointError(
      "\(path): the \(kind) data is damaged before byte \(readBytes) (\(reason)); download or "
        + "compress it again")
  }
}
