import Glibc

/// Where the bytes go that are written under a name.
///
/// A whole file takes the place of a file, whose links stay. It must not take the place of a device or
/// a pipe, nor of an open file that a name in /dev or /proc stands for: those are written to.
public enum OutputPlace: Equatable, Sendable {
  /// A file of this path, links followed, or nothing yet.
  case file(String)
  /// An open descriptor of this process, such as standard output's.
  case descriptor(Int32)
  /// A device, a pipe or a folder.
  case stream(String)

  /// Looks at what a name stands for now.
  ///
  /// - Parameter name: a path; nothing needs to be there.
  public init(of name: String) {
    var name = name
    var status = stat()
    // As many links as Linux follows. Standard output that goes to a file is a link to it in the end,
    // so each step is looked at.
    for _ in 0..<40 {
      if let number = openDescriptor(name) {
        self = .descriptor(number)
        return
      }
      guard lstat(name, &status) == 0, status.st_mode & S_IFMT == S_IFLNK,
        let target = linkTarget(name)
      else { break }
      name = target.hasPrefix("/") ? target : "\(parentFolder(of: name))/\(target)"
    }
    guard stat(name, &status) == 0 else {
      self = .file(name)
      return
    }
    guard status.st_mode & S_IFMT == S_IFREG, let real = realpath(name, nil) else {
      self = .stream(name)
      return
    }
    defer { free(real) }
    self = .file(String(cString: real))
  }
}

/// The descriptor of this process that a name in /dev or /proc stands for.
private func openDescriptor(_ name: String) -> Int32? {
  switch name {
  case "/dev/stdin": return 0
  case "/dev/stdout": return 1
  case "/dev/stderr": return 2
  default: break
  }
  for folder in ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/", "/proc/\(getpid())/fd/"]
  where name.hasPrefix(folder) {
    return Int32(name.dropFirst(folder.count))
  }
  return nil
}

private func linkTarget(_ name: String) -> String? {
  var target = [CChar](repeating: 0, count: Int(PATH_MAX))
  let count = readlink(name, &target, Int(PATH_MAX))
  guard count > 0 else { return nil }
  return String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
