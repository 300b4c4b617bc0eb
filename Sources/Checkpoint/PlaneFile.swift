import CZstd

/// A file of arrays of floats, compressed by byte planes, of which any range can be read.
///
/// The layout is described at `PlaneFileIndex`. Corrupted blocks are errors: each of their frames
/// has a checksum. A file whose sizes lie costs at most the memory of one block.
public struct PlaneFile: Sendable {
  /// The file.
  public let path: String
  private let index: PlaneFileIndex
  private let size: Int

  /// Opens a file and reads its index.
  public init(path: String) throws(CheckpointError) {
    let file = try InputFile(path: path)
    self.path = path
    index = try PlaneFileIndex(of: file)
    size = file.size
  }

  /// The arrays' names and counts of numbers, as they were written.
  public var arrays: [(name: String, count: Int)] { index.entries.map { ($0.name, $0.count) } }

  /// The count of numbers of an array, nil if there is none of this name (compared by bytes).
  public func count(of name: String) -> Int? { entry(name)?.count }

  /// Reads the numbers of a range of one array into a buffer of just that size.
  public func read(
    _ name: String, range: Range<Int>, into destination: UnsafeMutableBufferPointer<Float>
  ) throws(CheckpointError) {
    precondition(destination.count == range.count, "a place for each number")
    guard let entry = entry(name) else {
      throw CheckpointError(
        "\(quoted(path)) has no array \(quoted(name)); it has "
          + index.entries.prefix(20).map { quoted($0.name) }.joined(separator: ", "))
    }
    guard range.lowerBound >= 0, range.upperBound <= entry.count else {
      throw CheckpointError(
        "\(quoted(path)): array \(quoted(name)) has \(entry.count) numbers, asked for \(range)")
    }
    guard !range.isEmpty else { return }
    let file = try InputFile(path: path)
    guard file.size == size else {
      throw CheckpointError(
        "\(quoted(path)) has changed while it was read: from \(size) to \(file.size) bytes")
    }
    guard let context = ZSTD_createDCtx() else {
      throw CheckpointError("no memory to decompress \(quoted(path))")
    }
    defer { ZSTD_freeDCtx(context) }
    let longest = min(index.blockLength, entry.count)
    let planes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 * longest, alignment: 64)
    defer { planes.deallocate() }
    let first = range.lowerBound / index.blockLength
    let last = (range.upperBound - 1) / index.blockLength
    let frames = (4 * first)..<(4 * last + 4)
    let frame = UnsafeMutableRawBufferPointer.allocate(
      byteCount: entry.frameBytes[frames].max() ?? 0, alignment: 64)
    defer { frame.deallocate() }

    var position = entry.frameBytes[..<frames.lowerBound].reduce(entry.start, +)
    for block in first...last {
      let start = block * index.blockLength
      let length = min(index.blockLength, entry.count - start)
      for plane in 0..<4 {
        let bytes = UnsafeMutableRawBufferPointer(
          rebasing: frame[..<entry.frameBytes[4 * block + plane]])
        try file.read(into: bytes, at: position)
        position += bytes.count
        let target = UnsafeMutableRawBufferPointer(
          rebasing: planes[(plane * length)..<((plane + 1) * length)])
        let count = ZSTD_decompressDCtx(
          context, target.baseAddress, target.count, bytes.baseAddress, bytes.count)
        guard ZSTD_isError(count) == 0, count == length else {
          let reason =
            ZSTD_isError(count) == 0
            ? "\(count) of \(length) bytes" : String(cString: ZSTD_getErrorName(count))
          throw CheckpointError(
            "\(quoted(path)) is damaged: array \(quoted(name)), block \(block), plane \(plane): "
              + reason)
        }
      }
      let wanted = range.clamped(to: start..<(start + length))
      joinPlanes(
        planes, length: length, from: wanted.lowerBound - start,
        into: UnsafeMutableBufferPointer(
          rebasing: destination[
            (wanted.lowerBound - range.lowerBound)..<(wanted.upperBound - range.lowerBound)]))
    }
  }

  private func entry(_ name: String) -> PlaneFileIndex.Entry? {
    index.entries.first { $0.name.utf8.elementsEqual(name.utf8) }
  }
}

/// Puts numbers together again from four planes of `length` bytes, beginning at number `first`.
private func joinPlanes(
  _ planes: UnsafeMutableRawBufferPointer, length: Int, from first: Int,
  into numbers: UnsafeMutableBufferPointer<Float>
) {
  precondition(first + numbers.count <= length && 4 * length <= planes.count, "numbers in planes")
  guard let start = planes.baseAddress, let destination = numbers.baseAddress else { return }
  let plane0 = UnsafePointer(start.assumingMemoryBound(to: UInt8.self)) + first
  let (plane1, plane2, plane3) = (plane0 + length, plane0 + 2 * length, plane0 + 3 * length)
  for index in 0..<numbers.count {
    let low = UInt32(plane0[index]) | UInt32(plane1[index]) << 8
    let rotated = low | UInt32(plane2[index]) << 16 | UInt32(plane3[index]) << 24
    destination[index] = Float(bitPattern: rotated >> 1 | rotated << 31)
  }
}
