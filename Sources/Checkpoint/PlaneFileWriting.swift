import CZstd

/// Numbers per block of a plane file unless told otherwise: 4 MB of floats.
let usualBlockLength = 1 << 20

/// Writes arrays of floats compressed by byte planes (zstd, level 1), readable in ranges.
///
/// Every bit of every number is kept, NaN payloads included. The bytes depend on names and numbers
/// alone. The file gets its name when it is whole and durable; memory in use is a few megabytes.
/// The answer can be given to ``PendingFolder/complete(hashed:)``.
@discardableResult
public func writePlaneFile(
  _ arrays: [(name: String, numbers: FloatSource)], path: String
) throws(CheckpointError) -> FileDigest {
  try writePlaneFile(arrays, path: path, blockLength: usualBlockLength)
}

/// The same with blocks of another length.
@discardableResult
func writePlaneFile(
  _ arrays: [(name: String, numbers: FloatSource)], path: String, blockLength: Int
) throws(CheckpointError) -> FileDigest {
  var names: Set<[UInt8]> = []
  for array in arrays where !names.insert(Array(array.name.utf8)).inserted {
    throw CheckpointError("two arrays of \(quoted(path)) are named \(quoted(array.name))")
  }
  guard let context = ZSTD_createCCtx() else {
    throw CheckpointError("no memory to compress \(quoted(path))")
  }
  defer { ZSTD_freeCCtx(context) }
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1)
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
  let longest = min(blockLength, arrays.map(\.numbers.count).max() ?? 0)
  let planes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 * longest, alignment: 64)
  defer { planes.deallocate() }
  let scratch = UnsafeMutableBufferPointer<Float>.allocate(capacity: longest)
  defer { scratch.deallocate() }
  let frame = UnsafeMutableRawBufferPointer.allocate(
    byteCount: ZSTD_compressBound(longest), alignment: 64)
  defer { frame.deallocate() }

  return try replaceFile(path) { (file) throws(CheckpointError) in
    try file.write(PlaneFileIndex.magic)
    var index = PlaneFileIndex(blockLength: blockLength)
    for (name, numbers) in arrays {
      var entry = PlaneFileIndex.Entry(
        name: name, count: numbers.count, start: file.size, frameBytes: [])
      for start in stride(from: 0, to: numbers.count, by: blockLength) {
        let block = numbers.floats(start..<min(start + blockLength, numbers.count), scratch)
        splitPlanes(block, into: planes)
        for plane in 0..<4 {
          let bytes = planes[(plane * block.count)..<((plane + 1) * block.count)]
          let size = ZSTD_compress2(
            context, frame.baseAddress, frame.count,
            UnsafeRawBufferPointer(rebasing: bytes).baseAddress, bytes.count)
          guard ZSTD_isError(size) == 0 else {
            throw CheckpointError(
              "cannot compress \(quoted(path)): \(String(cString: ZSTD_getErrorName(size)))")
          }
          try file.write(UnsafeRawBufferPointer(rebasing: frame[..<size]))
          entry.frameBytes.append(size)
        }
      }
      index.entries.append(entry)
    }
    try file.write(index.bytes)
  }
}

/// Writes the four byte planes of numbers, one after the other, to the begin of a buffer.
private func splitPlanes(
  _ numbers: UnsafeBufferPointer<Float>, into planes: UnsafeMutableRawBufferPointer
) {
  let count = numbers.count
  precondition(planes.count >= 4 * count, "room for four planes")
  guard let source = numbers.baseAddress, let start = planes.baseAddress else { return }
  let plane0 = start.assumingMemoryBound(to: UInt8.self)
  let (plane1, plane2, plane3) = (plane0 + count, plane0 + 2 * count, plane0 + 3 * count)
  for index in 0..<count {
    let bits = source[index].bitPattern
    let rotated = bits << 1 | bits >> 31
    plane0[index] = UInt8(truncatingIfNeeded: rotated)
    plane1[index] = UInt8(truncatingIfNeeded: rotated >> 8)
    plane2[index] = UInt8(truncatingIfNeeded: rotated >> 16)
    plane3[index] = UInt8(truncatingIfNeeded: rotated >> 24)
  }
}
