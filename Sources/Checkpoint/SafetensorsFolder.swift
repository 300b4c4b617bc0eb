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
    try readPieces(placements, bufferCount: destination.count, run: inOrder) { floats, offset in
      _ = UnsafeMutableBufferPointer(rebasing: destination[offset..<offset + floats.count])
        .update(fromContentsOf: floats)
    }
  }

  /// Reads every placement's tensor, converted to floats, piece by piece.
  ///
  /// - Parameters:
  ///   - placements: checked as ``read(_:into:)`` does.
  ///   - bufferCount: floats of the flat buffer that the placements are in.
  ///   - run: runs a number of tasks, on one thread or several.
  ///   - body: takes a piece and the place of its first float in that buffer; on the task's thread.
  /// - Throws: `CheckpointError` as ``read(_:into:)`` does.
  public func readPieces(
    _ placements: [TensorPlacement], bufferCount: Int,
    run: @escaping (_ count: Int, _ task: (Int) -> Void) -> Void,
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
    var first = 0
    while first < parts.count {
      let number = parts[first].tensor.file
      let file = try InputFile(path: "\(path)/\(files[number])")
      var pieces: [StoredPiece] = []
      while first < parts.count, parts[first].tensor.file == number {
        let part = parts[first]
        pieces += StoredPiece.pieces(of: part.tensor, as: part.type, at: part.range)
        first += 1
      }
      try read(pieces, of: file, run: run, body)
    }
  }

  private func read(
    _ pieces: [StoredPiece], of file: borrowing InputFile,
    run: @escaping (_ count: Int, _ task: (Int) -> Void) -> Void,
    _ body: (_ floats: UnsafeBufferPointer<Float>, _ offset: Int) -> Void
  ) throws(CheckpointError) {
    // One place a piece, so that threads share nothing.
    var failures = [CheckpointError?](repeating: nil, count: pieces.count)
    failures.withUnsafeMutableBufferPointer { failures in
      run(pieces.count) { index in
        do throws(CheckpointError) {
          try pieces[index].read(file, body)
        } catch {
          failures[index] = error
        }
      }
    }
    for case let failure? in failures { throw failure }
  }
}

/// Tasks one after the other.
private func inOrder(_ count: Int, _ task: (Int) -> Void) {
  for index in 0..<count { task(index) }
}

/// Part of a stored tensor, about a megabyte.
private struct StoredPiece {
  var type: NumberType
  /// Of the first byte in the file.
  var offset: Int
  /// Where the numbers belong.
  var range: Range<Int>

  private static let length = 1 << 18

  static func pieces(
    of tensor: StoredTensor, as type: NumberType, at range: Range<Int>
  ) -> [StoredPiece] {
    stride(from: 0, to: range.count, by: length).map { done in
      let start = range.lowerBound + done
      return StoredPiece(
        type: type, offset: tensor.offset + done * type.byteCount,
        range: start..<min(start + length, range.upperBound))
    }
  }

  func read(
    _ file: borrowing InputFile,
    _ body: (_ floats: UnsafeBufferPointer<Float>, _ offset: Int) -> Void
  ) throws(CheckpointError) {
    let stored = UnsafeMutableRawBufferPointer.allocate(
      byteCount: range.count * type.byteCount, alignment: 64)
    defer { stored.deallocate() }
    let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: range.count)
    defer { floats.deallocate() }
    try file.read(into: stored, at: offset)
    type.decode(UnsafeRawBufferPointer(stored), into: floats)
    body(UnsafeBufferPointer(floats), range.lowerBound)
  }
}

/// Whether anything is at a path, links followed; what it is shows when it is opened.
private func isPresent(_ path: String) -> Bool { access(path, F_OK) == 0 }
