import JSONText

/// Writes weights as `model.safetensors`, or as shards with an index, into a folder that exists.
///
/// The bytes depend on names, shapes, values, `type` and `shardBytes` alone: tensors stand in the
/// byte order of their names, as the reference writer puts them. Numbers are rounded to nearest,
/// ties to even; a finite number that the type cannot hold is an error. A shard holds at most
/// `shardBytes` of numbers, or one larger tensor. Memory in use is a few megabytes. Each file gets
/// its name when it is whole and durable; weight files of an earlier, different set are removed.
public func writeSafetensors(
  placements: [TensorPlacement], from source: FloatSource, type: NumberType,
  shardBytes: Int = 5_000_000_000, folder: String, stem: String = "model"
) throws(CheckpointError) {
  var parts: [SafetensorsPart] = []
  for placement in placements.sorted(by: { precedes($0.name, $1.name) }) {
    let range = try placement.range(inBufferOf: source.count)
    if let last = parts.last?.placement.name, last.utf8.elementsEqual(placement.name.utf8) {
      throw CheckpointError("two tensors are named \(quoted(last)); names must differ")
    }
    guard !placement.name.utf8.elementsEqual("__metadata__".utf8) else {
      throw CheckpointError("no tensor can be named \"__metadata__\" in a safetensors file")
    }
    parts.append(SafetensorsPart(placement: placement, range: range))
  }
  let shards = shards(of: parts, numberBytes: type.byteCount, shardBytes: shardBytes)
  var written: [String] = []
  var map: [JSON.Member] = []
  for (number, shard) in shards.enumerated() {
    let name =
      shards.count == 1
      ? "\(stem).safetensors"
      : "\(stem)-\(padded(number + 1))-of-\(padded(shards.count)).safetensors"
    try replaceFile("\(folder)/\(name)") { (file) throws(CheckpointError) in
      try write(shard, from: source, type: type, to: &file)
    }
    written.append(name)
    map += shard.map { JSON.Member(key: $0.placement.name, value: .string(name)) }
  }
  if shards.count > 1 {
    let total = parts.reduce(0) { $0 + $1.range.count * type.byteCount }
    let index: JSON = [
      "metadata": ["total_size": .integer(Int64(total))],
      "weight_map": .object(map.sorted { precedes($0.key, $1.key) }),
    ]
    let name = "\(stem).safetensors.index.json"
    try writeFileAtomically(Array((index.indentedText + "\n").utf8), path: "\(folder)/\(name)")
    written.append(name)
  }
  for name in try entryNames(of: folder) where isWeightFile(name, stem: stem) {
    let isStale = !written.contains { $0.utf8.elementsEqual(name.utf8) }
    if isStale, try fileKind("\(folder)/\(name)") == .file { try removeTree("\(folder)/\(name)") }
  }
  try synchronizeFolder(folder)
}

/// A tensor to write and where its floats are.
private struct SafetensorsPart {
  var placement: TensorPlacement
  var range: Range<Int>
}

/// Consecutive parts, each run within the limit or a single part; at least one, maybe empty, run.
private func shards(
  of parts: [SafetensorsPart], numberBytes: Int, shardBytes: Int
) -> [[SafetensorsPart]] {
  var shards: [[SafetensorsPart]] = []
  var current: [SafetensorsPart] = []
  var currentBytes = 0
  for part in parts {
    let bytes = part.range.count * numberBytes
    if !current.isEmpty, currentBytes + bytes > shardBytes {
      shards.append(current)
      current = []
      currentBytes = 0
    }
    current.append(part)
    currentBytes += bytes
  }
  return shards + [current]
}

/// Writes one file: header length, header padded with blanks to 8 bytes, numbers.
private func write(
  _ parts: [SafetensorsPart], from source: FloatSource, type: NumberType,
  to file: inout OutputFile
) throws(CheckpointError) {
  var header = Array(#"{"__metadata__":{"format":"pt"}"#.utf8)
  var end = 0
  for part in parts {
    let begin = end
    end += part.range.count * type.byteCount
    let shape = part.placement.shape.map(String.init).joined(separator: ",")
    header += Array(
      """
      ,\(JSON.string(part.placement.name).text):{"dtype":"\(type.rawValue)","shape":[\(shape)],\
      "data_offsets":[\(begin),\(end)]}
      """.utf8)
  }
  header.append(UInt8(ascii: "}"))
  while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }
  guard header.count <= longestHeaderBytes else {
    throw CheckpointError(
      "the header of \(quoted(file.path)) would have \(header.count) bytes, "
        + "allowed are \(longestHeaderBytes); write smaller shards")
  }
  let length = UInt64(header.count)
  try file.write((0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + header)

  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 22, alignment: 64)
  defer { buffer.deallocate() }
  let pieceLength = buffer.count / type.byteCount
  let scratch = UnsafeMutableBufferPointer<Float>.allocate(capacity: pieceLength)
  defer { scratch.deallocate() }
  for part in parts {
    var start = part.range.lowerBound
    while start < part.range.upperBound {
      let piece = start..<min(start + pieceLength, part.range.upperBound)
      let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(piece.count * type.byteCount)])
      guard type.encode(source.floats(piece, scratch), into: bytes) else {
        throw CheckpointError(
          "tensor \(quoted(part.placement.name)) has a finite number too large for "
            + "\(type.rawValue); write \(type == .f16 ? "BF16 or F32" : "F32")")
      }
      try file.write(UnsafeRawBufferPointer(bytes))
      start = piece.upperBound
    }
  }
}

/// A shard number as the naming wants it, at least five digits.
private func padded(_ number: Int) -> String {
  let digits = String(number)
  return String(repeating: "0", count: max(0, 5 - digits.utf8.count)) + digits
}

/// Whether a name is one that weights are written under: single file, index or shard.
private func isWeightFile(_ name: String, stem: String) -> Bool {
  if name == "\(stem).safetensors" || name == "\(stem).safetensors.index.json" { return true }
  let parts = name.split(separator: "-", omittingEmptySubsequences: false)
  guard name.hasPrefix("\(stem)-"), name.hasSuffix(".safetensors"), parts.count >= 4 else {
    return false
  }
  let number = parts[parts.count - 3]
  let count = parts[parts.count - 1].dropLast(".safetensors".count)
  return parts[parts.count - 2] == "of" && number.count >= 5 && count.count >= 5
    && (number + count).utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
    && name == "\(stem)-\(number)-of-\(count).safetensors"
}
