import Glibc

/// A folder that is complete or absent under its final name.
///
/// It is written beside it as `partial-<name>`. ``complete(hashed:)`` writes `MANIFEST` last, makes
/// files and folders durable and renames. Under several ranks one process creates it and calls
/// ``complete(hashed:)`` after the others, who know the path from ``partialPath(for:)``, have
/// written and synchronized their files.
public struct PendingFolder: Sendable {
  /// Where to write the files.
  public let path: String
  /// The name of the complete folder.
  public let finalPath: String

  /// Where the files of a folder are written before it is complete.
  public static func partialPath(for finalPath: String) -> String {
    beside(finalPath, prefix: partialPrefix)
  }

  /// Creates the folder to write to, after removing one that an earlier attempt left.
  ///
  /// A whole folder under the final name is an error; a broken one is set aside on completion.
  public init(finalPath: String) throws(CheckpointError) {
    self.finalPath = withoutTrailingSlashes(finalPath)
    path = PendingFolder.partialPath(for: finalPath)
    try refuseWholeFolder()
    try removeTree(path)
    try makeFolder(path)
  }

  /// Makes the folder durable and gives it its final name.
  ///
  /// Files that the caller has hashed while writing are given in `hashed` and not read again; their
  /// sizes are checked. All others are hashed here. A broken folder of the final name is renamed to
  /// `broken-<name>`.
  public func complete(hashed: [ManifestEntry] = []) throws(CheckpointError) {
    let known = Dictionary(
      hashed.map { (Array($0.path.utf8), $0) }, uniquingKeysWith: { _, last in last })
    unlink("\(path)/\(Manifest.fileName)")
    let (files, folders) = try contents(of: path)
    for entry in hashed where !files.contains(where: { $0.utf8.elementsEqual(entry.path.utf8) }) {
      throw CheckpointError("\(quoted(path)) lacks \(quoted(entry.path)), which was written to it")
    }
    var entries: [ManifestEntry] = []
    for name in files {
      guard !name.utf8.contains(UInt8(ascii: "\n")) else {
        throw CheckpointError("the file name \(quoted(name)) has a line break; rename the file")
      }
      let file = try InputFile(path: "\(path)/\(name)")
      let entry = known[Array(name.utf8)]
      guard entry == nil || entry?.size == file.size else {
        throw CheckpointError(
          "\(quoted(file.path)) has \(file.size) bytes, \(entry?.size ?? 0) were written to it")
      }
      if let entry {
        entries.append(entry)
      } else {
        let content = try digest(of: file)
        entries.append(ManifestEntry(path: name, size: content.size, digest: content.digest))
      }
      try file.synchronize()
    }
    try writeFileAtomically(
      Manifest(entries: entries).bytes, path: "\(path)/\(Manifest.fileName)")
    for name in folders { try synchronizeFolder("\(path)/\(name)") }
    try synchronizeFolder(path)
    try refuseWholeFolder()
    if try fileKind(finalPath) != nil {
      let aside = beside(finalPath, prefix: "broken-")
      try removeTree(aside)
      try renamed(finalPath, to: aside)
    }
    try renamed(path, to: finalPath)
    try synchronizeFolder(parentFolder(of: finalPath))
  }

  private func refuseWholeFolder() throws(CheckpointError) {
    switch try fileKind(finalPath) {
    case nil: break
    case .folder where !isComplete(finalPath): break
    case .folder:
      throw CheckpointError("the folder \(quoted(finalPath)) already exists and is whole")
    default:
      throw CheckpointError("\(quoted(finalPath)) already exists and is not a folder")
    }
  }
}

/// Removes a complete folder so that its name never stands for a part of it.
public func removeFolder(_ path: String) throws(CheckpointError) {
  guard try fileKind(path) != nil else { return }
  let partial = PendingFolder.partialPath(for: path)
  try removeTree(partial)
  try renamed(withoutTrailingSlashes(path), to: partial)
  try synchronizeFolder(parentFolder(of: partial))
  try removeTree(partial)
}

/// Removes what unfinished folders left behind; nobody must be writing one.
///
/// - Parameter parent: the folder that their names would be in.
/// - Throws: `CheckpointError` if it cannot be read, or one of them not removed.
public func removePartialFolders(in parent: String) throws(CheckpointError) {
  for name in try entryNames(of: parent) where name.hasPrefix(partialPrefix) {
    try removeTree("\(parent)/\(name)")
  }
}

private let partialPrefix = "partial-"

/// The same path with a prefix before its last component.
private func beside(_ path: String, prefix: String) -> String {
  let path = withoutTrailingSlashes(path)
  guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return prefix + path }
  let name = path[path.utf8.index(after: slash)...]
  return "\(path[...slash])\(prefix)\(name)"
}

private func renamed(_ old: String, to new: String) throws(CheckpointError) {
  guard rename(old, new) == 0 else { throw .system("rename \(quoted(old)) to", new) }
}
