import Glibc

/// The weights of a Hugging Face model folder, described; numbers are read on demand.
///
/// They are one file `model.safetensors`, or shards named by `model.safetensors.index.json`; if both
/// are there, the single file counts, as it does for transformers.
public struct SafetensorsFolder: Sendable {
  /// The folder.
  public let path: String
  /// All tensors, ordered by file name and by position in the file.
  public let tensors: [StoredTensor]
  /// The files' names.
  let files: [String]
  /// Positions in `tensors` by the UTF-8 bytes of the names.
  let positions: [[UInt8]: Int]

  /// Reads and validates headers, and the index if the weights are in shards; no numbers.
  ///
  /// `stem` is the file name before `.safetensors`, such as "adapter_model".
  public init(path: String, stem: String = "model") throws(CheckpointError) {
    let single = "\(stem).safetensors"
    let index = "\(single).index.json"
    if isPresent("\(path)/\(single)") {
      try self.init(path: path, files: [single])
    } else if isPresent("\(path)/\(index)") {
      let map = try ShardIndex(path: "\(path)/\(index)")
      for file in map.files where !isPresent("\(path)/\(file)") {
        throw CheckpointError(
          "\(quoted(path)) lacks the shard \(quoted(file)) that \(quoted(index)) names; "
            + "copy or download it")
      }
      try self.init(path: path, files: map.files)
      try map.checkAgreement(with: self)
    } else {
      throw CheckpointError(
        "\(quoted(path)) has neither \(single) nor \(index); "
          + "expected a model folder with safetensors weights")
    }
  }

  private init(path: String, files: [String]) throws(CheckpointError) {
    var tensors: [StoredTensor] = []
    var positions: [[UInt8]: Int] = [:]
    for (number, file) in files.enumerated() {
      for tensor in try readSafetensorsHeader(path: "\(path)/\(file)", file: number) {
        let key = Array(tensor.name.utf8)
        if let other = positions.updateValue(tensors.count, forKey: key) {
          throw CheckpointError(
            "\(quoted(path)): tensor \(quoted(tensor.name)) is both in "
              + "\(quoted(files[tensors[other].file])) and in \(quoted(file)); remove one")
        }
        tensors.append(tensor)
      }
    }
    self.path = path
    self.files = files
    self.tensors = tensors
    self.positions = positions
  }

  /// The type of the first tensor whose numbers can be read, nil if there is none.
  public var numberType: NumberType? {
    for tensor in tensors { if let type = tensor.numberType { return type } }
    return nil
  }

  /// The tensor of a name, compared by UTF-8 bytes; nil if there is none.
  public func tensor(named name: String) -> StoredTensor? {
    positions[Array(name.utf8)].map { tensors[$0] }
  }
}

/// Reading numbers.
extension SafetensorsFolder {
  /// Reads every placement's tensor, converted to floats, into a flat buffer.
  ///
  /// All placements are checked before the first number is read: a missing tensor, another shape, a
  /// type other than F32, BF16 or F16 and a place outside the buffer are errors that name it. What
  /// no placement asks for is left out; floats of the buffer between placements keep their values.
  public func read(
    _ placements: [TensorPlacement], into destination: UnsafeMutableBufferPointer<Float>
  ) throws(CheckpointError) {
    try readPieces(placements, bufferCount: destination.count) { floats, offset in
      _ = UnsafeMutableBufferPointer(rebasing: destination[offset..<offset + floats.count])
        .update(fromContentsOf: floats)
    }
  }

  /// Reads every placement's tensor, converted to floats, piece by piece.
  ///
  /// - Parameters:
  ///   - placements: checked as ``read(_:into:)`` does.
  ///   - bufferCount: floats of the flat buffer that the placements are in.
  ///   - body: takes a piece and the place of its first float in that buffer.
  /// - Throws: `CheckpointError` as ``read(_:into:)`` does.
  public func readPieces(
    _ placements: [TensorPlacement], bufferCount: Int,
    _ body: (_ floats: UnsafeBufferPointer<Float>, _ offset: Int) -> Void
  ) throws(CheckpointError) {
    var parts: [(tensor: StoredTensor, type: NumberType, range: Range<Int>)] = []
    for placement in placements {
      let place = "\(quoted(path)): tensor \(quoted(placement.name))"
      guard let tensor = tensor(named: placement.name) else {
        throw CheckpointError("\(place) is missing; its \(tensors.count) tensors belong elsewhere")
      }
      guard tensor.shape == placement.shape else {
        throw CheckpointError(
          "\(place) has another shape: expected \(placement.shape), found \(clipped(tensor.shape))")
      }
      guard let type = tensor.numberType else {
        throw CheckpointError(
          "\(place) has type \(tensor.storedType), expected F32, BF16 or F16; convert it first")
      }
      parts.append((tensor, type, try placement.range(inBufferOf: bufferCount)))
    }
    // In the order of the files, so that each is opened once and read forwards.
    parts.sort { ($0.tensor.file, $0.tensor.offset) < ($1.tensor.file, $1.tensor.offset) }
    let pieceLength = 1 << 18
    let stored = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 * pieceLength, alignment: 64)
    defer { stored.deallocate() }
    let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: pieceLength)
    defer { floats.deallocate() }
    var first = 0
    while first < parts.count {
      let number = parts[first].tensor.file
      let file = try InputFile(path: "\(path)/\(files[number])")
      while first < parts.count, parts[first].tensor.file == number {
        let part = parts[first]
        var done = 0
        while done < part.range.count {
          let count = min(pieceLength, part.range.count - done)
          let bytes = UnsafeMutableRawBufferPointer(
            rebasing: stored[..<(count * part.type.byteCount)])
          try file.read(into: bytes, at: part.tensor.offset + done * part.type.byteCount)
          let piece = UnsafeMutableBufferPointer(rebasing: floats[..<count])
          part.type.decode(UnsafeRawBufferPointer(bytes), into: piece)
          body(UnsafeBufferPointer(piece), part.range.lowerBound + done)
          done += count
        }
        first += 1
      }
    }
  }
}

/// Whether anything is at a path, links followed; what it is shows when it is opened.
private func isPresent(_ path: String) -> Bool { access(path, F_OK) == 0 }
