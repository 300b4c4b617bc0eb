import Glibc

/// Both ends of a pipe, closed with this value unless released, none of them 0, 1 or 2.
struct Pipe {
  let read: Descriptor
  let write: Descriptor

  init() throws(OracleError) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      throw OracleError(
        "no pipe to the oracle command could be made: \(String(cString: strerror(errno)))")
    }
    read = Descriptor(ends[0])
    write = Descriptor(ends[1])
    guard read.number >= 0, write.number >= 0 else {
      throw OracleError("no pipe to the oracle command could be made: too many open files")
    }
  }
}

/// An open file descriptor above 2, close-on-exec.
final class Descriptor {
  private(set) var number: Int32

  init(_ given: Int32) {
    _ = fcntl(given, F_SETFD, FD_CLOEXEC)
    if given > 2 {
      number = given
    } else {
      number = fcntl(given, F_DUPFD_CLOEXEC, 3)
      _ = Glibc.close(given)
    }
  }

  deinit { if number >= 0 { _ = Glibc.close(number) } }

  /// Gives the descriptor away.
  func release() -> Int32 {
    defer { number = -1 }
    return number
  }
}
