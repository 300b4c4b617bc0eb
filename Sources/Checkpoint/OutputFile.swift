import Glibc

/// A file written from its first byte to its last, with the digest of what was written.
struct OutputFile: ~Copyable {
  let path: String
  private(set) var size = 0
  private let descriptor: Int32
  private let digest = Digest()

  /// Creates a file or empties the one that is there; with `appending` adds to what is there.
  init(path: String, appending: Bool = false) throws(CheckpointError) {
    let descriptor = open(
      path, O_WRONLY | O_CREAT | O_CLOEXEC | (appending ? O_APPEND : O_TRUNC), 0o666)
    guard descriptor >= 0 else { throw .system("create", path) }
    self.path = path
    self.descriptor = descriptor
  }

  /// Goes on where an open file of this process is; `path` names it in messages.
  init(descriptor: Int32, path: String) throws(CheckpointError) {
    // What was printed comes first.
    fflush(nil)
    let copy = dup(descriptor)
    guard copy >= 0 else { throw .system("write to", path) }
    self.path = path
    self.descriptor = copy
  }

  /// Appends bytes.
  mutating func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    guard let start = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(descriptor, start + done, bytes.count - done)
      if count < 0 {
        if errno == EINTR { continue }
        throw .system("write", path)
      }
      done += count
    }
    digest.update(bytes)
    size += bytes.count
  }

  /// Appends bytes.
  mutating func write(_ bytes: [UInt8]) throws(CheckpointError) {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { copy.deallocate() }
    copy.copyBytes(from: bytes)
    try write(UnsafeRawBufferPointer(copy))
  }

  /// Makes the content durable and tells its digest.
  func synchronize() throws(CheckpointError) -> FileDigest {
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw .system("synchronize", path) }
    return FileDigest(digest: digest.hexadecimal, size: size)
  }

  deinit { close(descriptor) }
}

/// Writes a file so that its name never stands for half of it: temporary name, fsync, rename.
///
/// The temporary name is `<path>.partial`: one writer a path at a time. ``OutputPlace`` says what
/// becomes of links, devices and pipes.
public func writeFileAtomically(_ bytes: [UInt8], path: String) throws(CheckpointError) {
  try replaceFile(path) { (file) throws(CheckpointError) in try file.write(bytes) }
}

/// Writes a file under a temporary name, makes it durable and gives it its name.
///
/// The folder's entry is made durable too. On an error nothing stays behind. What is no file is written
/// to as it stands, see ``OutputPlace``.
@discardableResult
func replaceFile(
  _ name: String, write: (inout OutputFile) throws(CheckpointError) -> Void
) throws(CheckpointError) -> FileDigest {
  let path: String
  switch OutputPlace(of: name) {
  case .file(let target): path = target
  case .descriptor(let number):
    var file = try OutputFile(descriptor: number, path: name)
    try write(&file)
    return try file.synchronize()
  case .stream(let target):
    var file = try OutputFile(path: target, appending: true)
    try write(&file)
    return try file.synchronize()
  }
  let partial = path + ".partial"
  do throws(CheckpointError) {
    var file = try OutputFile(path: partial)
    try write(&file)
    let digest = try file.synchronize()
    guard rename(partial, path) == 0 else { throw .system("rename the finished file to", path) }
    try synchronizeFolder(parentFolder(of: path))
    return digest
  } catch {
    unlink(partial)
    throw error
  }
}
