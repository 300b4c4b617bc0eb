import Glibc

/// A program with pipes on its standard input, output and error; nothing here blocks on a pipe.
///
/// The program runs in a process group of its own: a signal to the run's group (mpirun forwards
/// SIGUSR1 to it) does not end it, and a kill reaches what it started. When the thread that started
/// it ends, so when this process ends, however that happens, it is killed (what it started itself
/// only sees closed pipes). Pipes are marked close-on-exec one
/// call after they are made, so no other thread may start programs at that moment.
final class CommandProcess {
  private let identifier: pid_t
  private var input: Int32
  private var output: Int32
  private var errors: Int32
  private var errorTail: [UInt8] = []
  private var hasExited = false
  private var chunk = [UInt8](repeating: 0, count: 65536)

  private static let errorTailBytes = 4096
  private static let errorTailLines = 8

  /// Starts a program, found on PATH unless its name has a slash.
  ///
  /// - Parameter command: the program and its arguments, not empty.
  /// - Throws: `OracleError` if it cannot be started.
  init(starting command: [String]) throws(OracleError) {
    let toChild = try Pipe()
    let fromChild = try Pipe()
    let errorsFromChild = try Pipe()
    identifier = try CommandProcess.spawn(
      command, input: toChild.read.number, output: fromChild.write.number,
      errors: errorsFromChild.write.number)
    input = toChild.write.release()
    output = fromChild.read.release()
    errors = errorsFromChild.read.release()
    for descriptor in [input, output, errors] {
      _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }
  }

  deinit { closePipes() }

  /// Whether the program has closed its output, or has ended.
  var hasEnded: Bool { output < 0 || hasExited }

  /// Waits until something can be written or read, then does it once.
  ///
  /// - Parameters:
  ///   - outgoing: bytes for the program; what was written is removed.
  ///   - incoming: what the program wrote is appended.
  ///   - seconds: waits at most this long.
  func exchange(
    outgoing: inout ArraySlice<UInt8>, incoming: inout [UInt8], waitingAtMost seconds: Double
  ) {
    let wantsWrite = input >= 0 && !outgoing.isEmpty
    // A negative descriptor is skipped by poll.
    var polled = [
      pollfd(fd: output, events: Int16(POLLIN), revents: 0),
      pollfd(fd: errors, events: Int16(POLLIN), revents: 0),
      pollfd(fd: wantsWrite ? input : -1, events: Int16(POLLOUT), revents: 0),
    ]
    let ready = poll(&polled, nfds_t(polled.count), Int32(max(0, (seconds * 1000).rounded(.up))))
    if ready == 0 { hasExited = hasExited || isWaiting() }
    guard ready > 0 else { return }
    if polled[0].revents != 0 {
      read(from: &output) { incoming.append(contentsOf: $0) }
    }
    if polled[1].revents != 0 {
      var tail = errorTail
      read(from: &errors) { tail.append(contentsOf: $0) }
      errorTail = Array(tail.suffix(CommandProcess.errorTailBytes))
    }
    if polled[2].revents != 0 { write(&outgoing) }
  }

  /// Closes the program's input, gives it some time to end, then kills it and what it started.
  ///
  /// - Parameters:
  ///   - incoming: what the program still writes is appended.
  ///   - graceSeconds: how long it may take to end by itself.
  /// - Returns: how it ended, as "exited with status 1" or "was ended by signal 9".
  @discardableResult
  func end(incoming: inout [UInt8], graceSeconds: Double) -> String {
    close(&input)
    var nothing = ArraySlice<UInt8>()
    let deadline = monotonicSeconds() + graceSeconds
    while !isWaiting(), monotonicSeconds() < deadline {
      exchange(outgoing: &nothing, incoming: &incoming, waitingAtMost: 0.01)
    }
    // The group first: once its leader is waited for, its number may belong to somebody else.
    let wasKilled = !isWaiting()
    _ = kill(-identifier, SIGKILL)
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) == -1, errno == EINTR {}
    drain(incoming: &incoming)
    closePipes()
    if wasKilled { return "closed its output, went on and was killed" }
    // The layout of wait(2): the signal in the low seven bits, else the status above eight.
    let signal = status & 0x7F
    return signal == 0
      ? "exited with status \(status >> 8 & 0xFF)" : "was ended by signal \(signal)"
  }

  /// The last lines of the program's standard error, empty if there are none.
  var lastErrorLines: String {
    let lines = errorTail.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }
    return lines.suffix(CommandProcess.errorTailLines)
      .map { String(decoding: $0, as: UTF8.self) }.joined(separator: "\n")
  }

  /// Reads what the pipes still hold; stops when they are empty or closed.
  private func drain(incoming: inout [UInt8]) {
    var nothing = ArraySlice<UInt8>()
    // A pipe holds 64 kB unless enlarged; the bound is for what a survivor keeps writing.
    for _ in 0..<64 {
      let before = (incoming.count, errorTail.count, output, errors)
      exchange(outgoing: &nothing, incoming: &incoming, waitingAtMost: 0)
      if before == (incoming.count, errorTail.count, output, errors) { return }
    }
  }

  /// Whether the program has ended and waits to be collected.
  private func isWaiting() -> Bool {
    var info = siginfo_t()
    let code = waitid(P_PID, id_t(identifier), &info, WEXITED | WNOHANG | WNOWAIT)
    return code == 0 ? info.si_signo == SIGCHLD : errno == ECHILD
  }

  private func read(from descriptor: inout Int32, _ body: (ArraySlice<UInt8>) -> Void) {
    let count = Glibc.read(descriptor, &chunk, chunk.count)
    if count > 0 {
      body(chunk[..<count])
    } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
      close(&descriptor)
    }
  }

  /// Writes what fits; a program that closed its input is no error here.
  ///
  /// The signal that such a write raises is held back on this thread and taken, instead of being
  /// ignored in the whole process: programs inherit what is ignored.
  private func write(_ outgoing: inout ArraySlice<UInt8>) {
    var pipeSignal = sigset_t()
    sigemptyset(&pipeSignal)
    sigaddset(&pipeSignal, SIGPIPE)
    var pending = sigset_t()
    sigpending(&pending)
    var mask = sigset_t()
    pthread_sigmask(SIG_BLOCK, &pipeSignal, &mask)
    let count = outgoing.withUnsafeBytes { Glibc.write(input, $0.baseAddress, $0.count) }
    let code = errno
    if count < 0, code == EPIPE, sigismember(&pending, SIGPIPE) == 0 {
      var now = timespec()
      while sigtimedwait(&pipeSignal, nil, &now) == -1, errno == EINTR {}
    }
    pthread_sigmask(SIG_SETMASK, &mask, nil)
    if count >= 0 {
      outgoing = outgoing.dropFirst(count)
    } else if code != EAGAIN && code != EINTR {
      close(&input)
    }
  }

  private func close(_ descriptor: inout Int32) {
    if descriptor >= 0 { _ = Glibc.close(descriptor) }
    descriptor = -1
  }

  private func closePipes() {
    close(&input)
    close(&output)
    close(&errors)
  }
}

/// Seconds of a clock that never steps.
func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
