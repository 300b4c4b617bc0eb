import JSONText

/// The index of sharded weights: which tensor is in which file.
struct ShardIndex {
  /// The files named, in byte order, each once.
  let files: [String]
  private let path: String
  private let entries: [(tensor: String, file: String)]

  /// Reads and validates an index file.
  init(path: String) throws(CheckpointError) {
    let input = try InputFile(path: path)
    guard input.size <= longestHeaderBytes else {
      throw CheckpointError(
        "\(quoted(path)) has \(input.size) bytes, expected at most \(longestHeaderBytes)")
    }
    let index: JSON
    let bytes = try input.bytes(count: input.size, at: 0)
    do throws(JSONError) { index = try JSON(parsing: bytes) } catch {
      throw CheckpointError("\(quoted(path)) is \(error.description)")
    }
    guard let members = index["weight_map"]?.members, !members.isEmpty else {
      throw CheckpointError("\(quoted(path)) has no \"weight_map\" from tensors to files")
    }
    var entries: [(tensor: String, file: String)] = []
    for member in members {
      // A file beside the index: a path could lead anywhere.
      guard let file = member.value.string, !file.isEmpty, !file.utf8.contains(UInt8(ascii: "/")),
        !file.utf8.contains(0), file != ".", file != ".."
      else {
        throw CheckpointError(
          "\(quoted(path)): \"weight_map\" has no plain file name for \(quoted(member.key))")
      }
      entries.append((member.key, file))
    }
    var files: [String] = []
    for file in entries.map(\.file).sorted(by: precedes) {
      if let last = files.last, last.utf8.elementsEqual(file.utf8) { continue }
      files.append(file)
    }
    self.path = path
    self.files = files
    self.entries = entries
  }

  /// Throws if a tensor is not where the index says, or is in a shard but not in the index.
  func checkAgreement(with folder: SafetensorsFolder) throws(CheckpointError) {
    for entry in entries {
      let found = folder.tensor(named: entry.tensor).map { folder.files[$0.file] }
      guard let found, found.utf8.elementsEqual(entry.file.utf8) else {
        throw CheckpointError(
          "\(quoted(path)) places tensor \(quoted(entry.tensor)) in \(quoted(entry.file)), "
            + (found.map { "but it is in \(quoted($0))" } ?? "but no shard has it")
            + "; index and shards are of different models or incomplete")
      }
    }
    guard folder.tensors.count > entries.count else { return }
    let listed = Set(entries.map { Array($0.tensor.utf8) })
    for tensor in folder.tensors where !listed.contains(Array(tensor.name.utf8)) {
      throw CheckpointError(
        "\(quoted(path)) does not list tensor \(quoted(tensor.name)) of "
          + "\(quoted(folder.files[tensor.file])); index and shards are of different models")
    }
  }
}
