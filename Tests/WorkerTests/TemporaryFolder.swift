import Glibc

/// A folder of small text files that goes away with its owner.
final class TemporaryFolder {
  private let root: String

  init() {
    var template = Array("/tmp/sail-worker-tests-XXXXXX".utf8CString)
    root = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
  }

  deinit {
    guard let directory = opendir(root) else { return }
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      unlink(path(name))
    }
    closedir(directory)
    rmdir(root)
  }

  func path(_ name: String) -> String { "\(root)/\(name)" }

  func write(_ name: String, _ text: String, mode: mode_t = 0o644) {
    guard let file = fopen(path(name), "w") else { return }
    fputs(text, file)
    fclose(file)
    chmod(path(name), mode)
  }

  /// The text of a file, nil if there is none.
  func read(_ name: String) -> String? {
    guard let file = fopen(path(name), "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }
}
