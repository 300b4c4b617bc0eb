import Glibc

extension CommandProcess {
  /// Starts a program on three descriptors.
  ///
  /// - Returns: its process number.
  static func spawn(
    _ command: [String], input: Int32, output: Int32, errors: Int32
  ) throws(OracleError) -> pid_t {
    let shown = command[0]
    if command.contains(where: { $0.utf8.contains(0) }) {
      throw OracleError("the oracle command \"\(shown)\" has a zero byte in its words; remove it")
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The program starts with no signal blocked or ignored, whatever the run does with its own.
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes,
      Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    defer { for word in words { free(word) } }
    words.append(nil)
    var identifier: pid_t = 0
    let code = posix_spawnp(&identifier, shown, &actions, &attributes, words, environ)
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
}
