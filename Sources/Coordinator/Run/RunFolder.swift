import Checkpoint
import Foundation
import Glibc
import JSONText

/// The folder of a run and its files; only rank 0 writes through it.
final class RunFolder {
  let path: String
  private var lock: Int32 = -1

  init(path: String) { self.path = path }

  var checkpoints: String { path + "/checkpoints" }
  var metrics: String { path + "/metrics.jsonl" }
  var samples: String { path + "/samples.jsonl" }
  var model: String { path + "/model" }
  var configurationFile: String { path + "/config.yaml" }

  func checkpoint(step: Int) -> String {
    let digits = String(step)
    let zeros = String(repeating: "0", count: max(0, 8 - digits.count))
    return "\(checkpoints)/step-\(zeros)\(digits)"
  }

  /// Makes the folder and takes its lock, which ends with the process that holds it.
  func open() throws {
    do throws(CheckpointError) { try makeFolder(checkpoints) } catch {
      throw ConfigurationError("output: \(error)")
    }
    lock = Glibc.open(path + "/.lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
    guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      throw ConfigurationError(
        "output: another run is writing to \(path); choose another folder or wait for it")
    }
    try removePartialFolders(in: checkpoints)
  }

  /// Whether the folder holds a run: something was trained or begun there.
  var holdsRun: Bool {
    FileManager.default.fileExists(atPath: metrics)
      || FileManager.default.fileExists(atPath: configurationFile)
  }

  /// Appends lines to a file of the folder.
  func append(_ lines: [JSON], to file: String) throws {
    if lines.isEmpty { return }
    let text = lines.map { $0.text + "\n" }.joined()
    let descriptor = Glibc.open(file, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw DataError(file, "cannot be written: \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        throw DataError(file, "cannot be written: \(String(cString: strerror(errno)))")
      }
      bytes = bytes.dropFirst(count)
    }
  }

  /// Drops the lines of a file that are of later steps than `step`, as a resumed run writes them anew.
  func truncate(_ file: String, toStep step: Int) throws {
    guard FileManager.default.fileExists(atPath: file) else { return }
    let bytes = try readFile(file, what: "log")
    let kept = bytes.split(separator: UInt8(ascii: "\n")).filter { line in
      guard let json = try? JSON(parsing: Array(line)), let number = json["step"]?.integer else {
        return false
      }
      return number <= step
    }
    var result: [UInt8] = []
    for line in kept {
      result += line
      result.append(UInt8(ascii: "\n"))
    }
    try writeFileAtomically(result, path: file)
  }

  /// Adds a line with the time to `log.txt`.
  func log(_ line: String) throws {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var buffer = [CChar](repeating: 0, count: 32)
    strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    let stamp = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8($0) }, as: UTF8.self)
    let file = path + "/log.txt"
    if !FileManager.default.fileExists(atPath: file) {
      try writeFileAtomically([], path: file)
    }
    guard let handle = FileHandle(forWritingAtPath: file) else {
      throw DataError(file, "cannot be written")
    }
    defer { try? handle.close() }
    _ = try? handle.seekToEnd()
    try? handle.write(contentsOf: Data("\(stamp) \(line)\n".utf8))
  }
}
