import Checkpoint
import Glibc
import JSONText

/// By what a file is known to be unchanged without reading it.
///
/// The time of the last change of the inode (ctime) is set by the system alone, so whatever changes
/// the content, or puts another file in its place, changes the stamp. Only a change within the clock's
/// grain could pass unseen; so a stamp is not kept of a file that was changed a moment ago.
struct FileStamp: Equatable {
  let size: Int
  let inode: Int
  /// Nanoseconds.
  let modified: Int
  /// Nanoseconds.
  let changed: Int

  /// Seconds within which a second change may leave the stamp as it is, network file systems included.
  private static let grainSeconds = 5

  /// The stamp of a file; throws `DataError` if it cannot be opened.
  init(path: String) throws(DataError) {
    // Opening makes network file systems ask their server.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw DataError(path, "the data file cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw DataError(
        path, "the data file cannot be looked at: \(String(cString: strerror(errno)))")
    }
    func nanoseconds(_ time: timespec) -> Int { time.tv_sec &* 1_000_000_000 &+ time.tv_nsec }
    size = Int(status.st_size)
    inode = Int(truncatingIfNeeded: status.st_ino)
    modified = nanoseconds(status.st_mtim)
    changed = nanoseconds(status.st_ctim)
  }

  /// Whether the last change is long enough ago.
  var isSettled: Bool { time(nil) - max(modified, changed) / 1_000_000_000 > Self.grainSeconds }

  /// What is written of the file beside its digest.
  func json(path: String, digest: String) -> JSON {
    [
      "path": .string(path), "size": .integer(Int64(size)), "inode": .integer(Int64(inode)),
      "modified": .integer(Int64(modified)), "changed": .integer(Int64(changed)),
      "digest": .string(digest),
    ]
  }

  /// The digest that was written of the file, if this is still its stamp.
  func digest(in json: JSON, path: String) -> String? {
    guard json["path"]?.string == path, json["size"]?.integer == size,
      json["inode"]?.integer == inode, json["modified"]?.integer == modified,
      json["changed"]?.integer == changed
    else { return nil }
    return json["digest"]?.string
  }
}
