import CChildProcess
import Glibc

extension CommandProcess {
  /// Starts a program on three descriptors; it is killed when the calling thread ends, as with the
  /// process.
  ///
  /// - Returns: its process number.
  static func spawn(
    _ command: [String], input: Int32, output: Int32, errors: Int32
  ) throws(OracleError) -> pid_t {
    let shown = command[0]
    if command.contains(where: { $0.utf8.contains(0) }) {
      throw OracleError("the oracle command \"\(shown)\" has a zero byte in its words; remove it")
    }
    let files = candidates(shown)
    let (identifier, code) = withPointers(files) { files in
      withPointers(command) { words -> (pid_t, Int32) in
        var identifier: pid_t = 0
        let code = sail_start_program(files, words, input, output, errors, &identifier)
        return (identifier, code)
      }
    }
    if code == 0 { return identifier }
    let place = shown.utf8.contains(UInt8(ascii: "/")) ? "" : " on PATH"
    switch code {
    case ENOENT:
      throw OracleError(
        "the oracle command \"\(shown)\" was not found\(place) (or the program that its first "
          + "line names is missing); give the path of a program, or add its folder to PATH")
    case EACCES:
      throw OracleError(
        "the oracle command \"\(shown)\" found\(place) is not executable; chmod +x it, or give "
          + "another program")
    case ENOEXEC:
      throw OracleError(
        "the oracle command \"\(shown)\" found\(place) is not a program; a script needs a first "
          + "line such as #!/bin/sh")
    default:
      throw OracleError(
        "the oracle command \"\(shown)\" could not be started: \(String(cString: strerror(code)))")
    }
  }
  /// Where a program may lie: as named if that has a slash, else in each folder of PATH.
  private static func candidates(_ name: String) -> [String] {
    if name.utf8.contains(UInt8(ascii: "/")) { return [name] }
    let path = getenv("PATH").map { String(cString: $0) } ?? "/bin:/usr/bin"
    return path.split(separator: ":", omittingEmptySubsequences: false).map {
      $0.isEmpty ? "./\(name)" : "\($0)/\(name)"
    }
  }

  /// Texts as C has them, with NULL at the end, for the time of a call.
  private static func withPointers<Result>(
    _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
  ) -> Result {
    let pointers = texts.map { strdup($0) }
    defer { for pointer in pointers { free(pointer) } }
    return body(pointers + [nil])
  }
}
