import Glibc

/// An open regular file, read at given positions.
///
/// Read, not mapped: a mapped file that somebody truncates ends the process with SIGBUS, a read one
/// is an error with a sentence.
struct InputFile: ~Copyable {
  let path: String
  /// Its size when it was opened.
  let size: Int
  private let descriptor: Int32

  /// Opens a file; anything but a regular file is refused.
  init(path: String) throws(CheckpointError) {
    // O_NONBLOCK: opening a pipe must not wait for its writer; regular files ignore it.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .system("open", path) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      let code = errno
      close(descriptor)
      throw .system("open", path, code: code)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      if status.st_mode & S_IFMT == S_IFDIR { throw .system("read", path, code: EISDIR) }
      throw CheckpointError("cannot read \(quoted(path)): not a regular file")
    }
    self.path = path
    self.size = Int(status.st_size)
    self.descriptor = descriptor
  }

  /// Fills a buffer from the bytes at an offset; a file that ends before is an error.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(CheckpointError) {
    guard let start = buffer.baseAddress else { return }
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, start + done, buffer.count - done, offset + done)
      if count < 0 {
        if errno == EINTR { continue }
        throw .system("read", path)
      }
      guard count > 0 else {
        throw CheckpointError(
          "\(quoted(path)) ends at byte \(offset + done), expected \(buffer.count - done) more: "
            + "it was cut off while it was read")
      }
      done += count
    }
  }

  /// The bytes at an offset.
  func bytes(count: Int, at offset: Int) throws(CheckpointError) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
    defer { buffer.deallocate() }
    try read(into: buffer, at: offset)
    return Array(buffer)
  }

  /// Makes what any process of this machine wrote to the file durable.
  func synchronize() throws(CheckpointError) {
    guard fsync(descriptor) == 0 else { throw .system("synchronize", path) }
  }

  deinit { close(descriptor) }
}
