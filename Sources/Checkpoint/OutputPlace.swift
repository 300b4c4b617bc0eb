import Glibc

/// Where the bytes go that are written under a name.
///
/// A whole file takes the place of a file, whose links stay. It must not take the place of a device or
/// a pipe, nor of a standard stream that a name in /dev or /proc stands for: those are written to.
public enum OutputPlace: Equatable, Sendable {
  /// A file of this path, links followed, or nothing yet.
  case file(String)
  /// A device, a pipe or a standard stream.
  case stream(String)

  /// Looks at what a name stands for now.
  ///
  /// - Parameter name: a path; nothing needs to be there.
  public init(of name: String) {
    var status = stat()
    guard stat(name, &status) == 0 else {
      self = .file(linkedName(name))
      return
    }
    let isStandard = ["/dev/", "/proc/"].contains { name.hasPrefix($0) }
    guard status.st_mode & S_IFMT == S_IFREG, !isStandard, let real = realpath(name, nil) else {
      self = .stream(name)
      return
    }
    defer { free(real) }
    self = .file(String(cString: real))
  }
}

/// The name at the end of a chain of links, where nothing is yet; of a chain without end, some link of it.
private func linkedName(_ name: String) -> String {
  var name = name
  // As many as Linux follows.
  for _ in 0..<40 {
    var target = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(name, &target, Int(PATH_MAX))
    guard count > 0 else { break }
    let text = String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    name = text.hasPrefix("/") ? text : "\(parentFolder(of: name))/\(text)"
  }
  return name
}
