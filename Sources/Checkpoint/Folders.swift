import Glibc

/// What a path is, a symbolic link not followed.
enum FileKind {
  case file, folder, other
}

/// What is at a path, nil if nothing.
func fileKind(_ path: String) throws(CheckpointError) -> FileKind? {
  var status = stat()
  guard lstat(path, &status) == 0 else {
    if errno == ENOENT { return nil }
    throw .system("look at", path)
  }
  return switch status.st_mode & S_IFMT {
  case S_IFREG: .file
  case S_IFDIR: .folder
  default: .other
  }
}

/// The folder that holds a path, "." for a bare name.
func parentFolder(of path: String) -> String {
  guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
  let parent = withoutTrailingSlashes(String(path[..<slash]))
  return parent.isEmpty ? "/" : parent
}

/// A path without slashes at its end; "/" becomes empty.
func withoutTrailingSlashes(_ path: String) -> String {
  var bytes = Array(path.utf8)
  while bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
  return String(decoding: bytes, as: UTF8.self)
}

/// Creates a folder and those above it, where they don't exist.
///
/// - Parameter path: the folder.
/// - Throws: `CheckpointError` with what the system says.
public func makeFolder(_ path: String) throws(CheckpointError) {
  if mkdir(path, 0o777) == 0 { return }
  if errno == ENOENT {
    let parent = parentFolder(of: withoutTrailingSlashes(path))
    guard parent != path else { throw .system("create the folder", path) }
    try makeFolder(parent)
    if mkdir(path, 0o777) == 0 { return }
  }
  let code = errno
  var status = stat()
  guard code == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
    throw .system("create the folder", path, code: code)
  }
}

/// Makes the entries of a folder (creations, renames, removals) durable.
func synchronizeFolder(_ path: String) throws(CheckpointError) {
  let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { throw .system("open the folder", path) }
  defer { close(descriptor) }
  // Some file systems have no fsync for folders and say so with EINVAL.
  guard fsync(descriptor) == 0 || errno == EINVAL else {
    throw .system("synchronize the folder", path)
  }
}

/// The names in a folder in byte order, "." and ".." left out.
func entryNames(of folder: String) throws(CheckpointError) -> [String] {
  guard let stream = opendir(folder) else { throw .system("open the folder", folder) }
  defer { closedir(stream) }
  guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
  var names: [String] = []
  while true {
    errno = 0
    guard let entry = readdir(stream) else {
      guard errno == 0 else { throw .system("read the folder", folder) }
      break
    }
    let start = (UnsafeRawPointer(entry) + nameOffset).assumingMemoryBound(to: CChar.self)
    guard let name = String(validatingCString: start) else {
      throw CheckpointError(
        "the folder \(quoted(folder)) holds \(quoted(String(cString: start))), "
          + "whose name is not UTF-8; remove or rename it")
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names.sorted(by: precedes)
}

/// The files and folders below a folder as relative paths, each list in byte order.
///
/// Anything else, symbolic links included, is an error.
func contents(
  of folder: String
) throws(CheckpointError) -> (files: [String], folders: [String]) {
  var files: [String] = []
  var folders: [String] = []
  var waiting = [""]
  while let prefix = waiting.popLast() {
    for name in try entryNames(of: "\(folder)/\(prefix)") {
      let relative = prefix + name
      switch try fileKind("\(folder)/\(relative)") {
      case .file: files.append(relative)
      case .folder:
        folders.append(relative)
        waiting.append(relative + "/")
      case .other:
        throw CheckpointError(
          "\(quoted(folder + "/" + relative)) is neither a file nor a folder; remove it")
      case nil: break
      }
    }
  }
  return (files.sorted(by: precedes), folders.sorted(by: precedes))
}

/// Removes a file, or a folder with all that is below it; nothing there is no error.
func removeTree(_ path: String) throws(CheckpointError) {
  guard let kind = try fileKind(path) else { return }
  if kind == .folder {
    for name in try entryNames(of: path) { try removeTree("\(path)/\(name)") }
    guard rmdir(path) == 0 || errno == ENOENT else { throw .system("remove the folder", path) }
  } else {
    guard unlink(path) == 0 || errno == ENOENT else { throw .system("remove", path) }
  }
}
