import Checkpoint
import Foundation
import Testing

/// A whole file takes the place of a file, never that of a link, a device or a pipe.
@Suite struct OutputPlaceTests {
  private func kind(_ path: String) throws -> mode_t {
    var status = stat()
    try #require(lstat(path, &status) == 0, "\(path)")
    return status.st_mode & S_IFMT
  }

  @Test func filesAreReplacedAndLinksStay() throws {
    try withTemporaryFolder { path in
      let real = try #require(realpath(path, nil).map { String(cString: $0) })
      try FileManager.default.createDirectory(
        atPath: path + "/deep", withIntermediateDirectories: false)
      try store(Array("old and longer".utf8), path + "/deep/file")
      let links = [("to-file", "deep/file"), ("to-link", "to-file"), ("to-nothing", "deep/new")]
      for (link, target) in links {
        try FileManager.default.createSymbolicLink(
          atPath: "\(path)/\(link)", withDestinationPath: target)
      }
      #expect(OutputPlace(of: path + "/none") == .file(path + "/none"))
      #expect(OutputPlace(of: path + "/to-link") == .file(real + "/deep/file"))
      #expect(OutputPlace(of: path + "/to-nothing") == .file(path + "/deep/new"))
      for (link, _) in links {
        try writeFileAtomically(Array(link.utf8), path: "\(path)/\(link)")
        #expect(try kind("\(path)/\(link)") == S_IFLNK)
      }
      #expect(try fileBytes(path + "/deep/file") == Array("to-link".utf8))
      #expect(try fileBytes(path + "/deep/new") == Array("to-nothing".utf8))
      let names = try FileManager.default.contentsOfDirectory(atPath: path + "/deep").sorted()
      #expect(names == ["file", "new"])
    }
  }

  @Test func aChainOfLinksWithoutEndIsAnError() throws {
    try withTemporaryFolder { path in
      for (link, target) in [("a", "b"), ("b", "a")] {
        try FileManager.default.createSymbolicLink(
          atPath: "\(path)/\(link)", withDestinationPath: target)
      }
      _ = OutputPlace(of: path + "/a")
      // Its end is one of the two, which becomes the file.
      try writeFileAtomically([1], path: path + "/a")
      #expect(try kind(path + "/a") == S_IFREG || kind(path + "/b") == S_IFREG)
    }
  }

  @Test func devicesAreWrittenTo() throws {
    for name in ["/dev/null", "/dev/full"] { #expect(OutputPlace(of: name) == .stream(name)) }
    try writeFileAtomically([1, 2, 3], path: "/dev/null")
    #expect(try kind("/dev/null") == S_IFCHR)
    let full = sentence { try writeFileAtomically([1, 2, 3], path: "/dev/full") }
    #expect(full.contains("/dev/full") && full.contains("No space left"), "\(full)")
    #expect(try kind("/dev/full") == S_IFCHR)
  }

  /// A file in /dev or /proc is a file.
  @Test func filesInMemoryAreReplaced() throws {
    let path = "/dev/shm/output-place-\(getpid())"
    defer { unlink(path) }
    for bytes in [[1, 2, 3], [4]] as [[UInt8]] {
      try writeFileAtomically(bytes, path: path)
      #expect(try fileBytes(path) == bytes)
      #expect(OutputPlace(of: "/proc/self/root" + path) == .file(path))
    }
  }

  /// An open file is written on where it is, by whatever name, and stays the file that it is.
  @Test func openFilesAreWrittenOn() throws {
    for (name, number) in [("/dev/stdin", 0), ("/dev/stdout", 1), ("/dev/stderr", 2)]
      as [(String, Int32)]
    {
      #expect(OutputPlace(of: name) == .descriptor(number))
    }
    try withTemporaryFolder { path in
      let file = open(path + "/file", O_RDWR | O_CREAT, 0o600)
      try #require(file >= 0)
      defer { close(file) }
      try #require(write(file, "before ", 7) == 7)
      let link = path + "/link"
      try FileManager.default.createSymbolicLink(
        atPath: link, withDestinationPath: "/proc/self/fd/\(file)")
      let names = [
        link, "/dev/fd/\(file)", "/proc/self/fd/\(file)", "/proc/\(getpid())/fd/\(file)",
      ]
      for name in names {
        #expect(OutputPlace(of: name) == .descriptor(file))
        try writeFileAtomically(Array("x".utf8), path: name)
      }
      try #require(write(file, " after", 6) == 6)
      #expect(try fileBytes(path + "/file") == Array("before xxxx after".utf8))
      #expect(
        sentence { try writeFileAtomically([1], path: "/dev/fd/999") }.contains("/dev/fd/999"))
    }
  }

  @Test func aPipeIsWrittenTo() throws {
    try withTemporaryFolder { path in
      let pipe = path + "/pipe"
      try #require(mkfifo(pipe, 0o600) == 0)
      #expect(OutputPlace(of: pipe) == .stream(pipe))
      // Opened for both, so that neither end waits for the other.
      let reader = open(pipe, O_RDWR)
      defer { close(reader) }
      try writeFileAtomically(Array("through".utf8), path: pipe)
      var bytes = [UInt8](repeating: 0, count: 16)
      let count = read(reader, &bytes, bytes.count)
      #expect(count == 7 && Array(bytes[..<max(0, count)]) == Array("through".utf8))
      #expect(try kind(pipe) == S_IFIFO)
    }
  }
}
