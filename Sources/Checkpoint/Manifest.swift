/// One file of a complete folder as its manifest lists it.
public struct ManifestEntry: Sendable, Equatable {
  /// The path relative to the folder.
  public var path: String
  /// The size in bytes.
  public var size: Int
  /// XXH3 of the content, 128 bits, as 32 lower-case hex digits.
  public var digest: String

  /// An entry from its parts.
  public init(path: String, size: Int, digest: String) {
    self.path = path
    self.size = size
    self.digest = digest
  }
}

/// The list of a folder's files with sizes and checksums, and a checksum of itself.
///
/// Text: a line `<32 hex digits>  <size>  <relative path>` a file in byte order of the paths, then
/// `<32 hex digits>  manifest` over all the bytes before that line.
struct Manifest {
  /// The name of the file that holds it.
  static let fileName = "MANIFEST"
  /// The longest manifest that is read.
  private static let longestBytes = 100_000_000

  /// The entries in byte order of the paths.
  let entries: [ManifestEntry]

  init(entries: [ManifestEntry]) {
    self.entries = entries.sorted { precedes($0.path, $1.path) }
  }

  /// The file's bytes.
  var bytes: [UInt8] {
    let body = entries.map { "\($0.digest)  \($0.size)  \($0.path)\n" }.joined()
    return Array((body + "\(Checkpoint.digest(ofBytes: Array(body.utf8)))  manifest\n").utf8)
  }

  /// Reads the manifest of a folder; any deviation from what would be written is an error.
  init(folder: String) throws(CheckpointError) {
    let path = "\(folder)/\(Manifest.fileName)"
    guard try fileKind(path) != nil else {
      throw CheckpointError(
        "\(quoted(folder)) has no \(Manifest.fileName): it was not completed or is no checkpoint")
    }
    let file = try InputFile(path: path)
    guard file.size <= Manifest.longestBytes else {
      throw CheckpointError("\(quoted(path)) has \(file.size) bytes: it is no manifest")
    }
    let bytes = try file.bytes(count: file.size, at: 0)
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    var entries: [ManifestEntry] = []
    // The last line and the nothing after its end are rebuilt, not read.
    for line in lines.dropLast(2) {
      guard let entry = Manifest.entry(line: line) else {
        throw CheckpointError(
          "\(quoted(path)) is damaged: line \(entries.count + 1) is not digest, size and path")
      }
      entries.append(entry)
    }
    self.init(entries: entries)
    guard self.bytes == bytes else {
      throw CheckpointError("\(quoted(path)) is damaged: it does not match its own checksum")
    }
  }

  private static func entry(line: ArraySlice<UInt8>) -> ManifestEntry? {
    let text = String(decoding: line, as: UTF8.self)
    guard text.utf8.count > 36, let digest = String(text.utf8.prefix(32)) else { return nil }
    let rest = text.utf8.dropFirst(34)
    guard let gap = rest.firstIndex(of: UInt8(ascii: " ")), let size = Int(Substring(rest[..<gap]))
    else { return nil }
    let path = rest[gap...].dropFirst(2)
    return ManifestEntry(
      path: String(decoding: path, as: UTF8.self), size: size, digest: digest)
  }
}

/// Checks every byte of a complete folder: all files are as its manifest says, and no others.
///
/// The error names the manifest's damage, or the files that are missing, unlisted, resized or
/// changed; the answer is the list of files.
@discardableResult
public func verifyFolder(_ path: String) throws(CheckpointError) -> [ManifestEntry] {
  guard try fileKind(path) != nil else {
    throw CheckpointError("there is no folder \(quoted(path))")
  }
  let manifest = try Manifest(folder: path)
  let listed = Set(manifest.entries.map { Array($0.path.utf8) })
  let found = try contents(of: path).files
  let foundKeys = Set(found.map { Array($0.utf8) })
  var problems: [String] = []
  for entry in manifest.entries {
    let name = quoted(entry.path)
    guard foundKeys.contains(Array(entry.path.utf8)) else {
      problems.append("\(name) is missing")
      continue
    }
    let file = try InputFile(path: "\(path)/\(entry.path)")
    if file.size != entry.size {
      problems.append("\(name) has \(file.size) bytes, expected \(entry.size)")
    } else if try digest(of: file).digest != entry.digest {
      problems.append("\(name) has changed: its checksum differs")
    }
  }
  for name in found where !name.utf8.elementsEqual(Manifest.fileName.utf8) {
    if !listed.contains(Array(name.utf8)) { problems.append("\(quoted(name)) is not listed") }
  }
  guard problems.isEmpty else {
    let more = problems.count > 10 ? "; and \(problems.count - 10) more" : ""
    throw CheckpointError(
      "\(quoted(path)) is not whole: \(problems.prefix(10).joined(separator: "; "))\(more)")
  }
  return manifest.entries
}

/// Whether a folder is whole, as ``verifyFolder(_:)`` checks it: it reads every byte.
public func isComplete(_ path: String) -> Bool {
  do throws(CheckpointError) {
    try verifyFolder(path)
    return true
  } catch {
    return false
  }
}
