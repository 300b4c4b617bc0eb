/// A program that scores completions, asked over pipes for as long as this value lives.
///
/// It reads one JSON object a line, `{"id": n, "prompt": "…", "completions": ["…", …]}`, and
/// answers in any order `{"id": n, "scores": [s, …]}` (one finite number a completion, higher is
/// better) or `{"id": n, "error": "…"}`. It must answer while its input stays open, and end when its
/// input ends. What it writes to standard error is kept for error messages, its last lines only.
///
/// All is done on the caller's thread. The program is asked many questions ahead, and read from
/// while it is written to, so neither side waits for the other.
public final class CommandOracle {
  private let command: [String]
  private let timeoutSeconds: Double
  private let restartLimit: Int
  private var process: CommandProcess?
  private var restartCount = 0
  // How the last program ended, and the end of its standard error.
  private var lastEnding = ""
  private var lastWords = ""
  private var nextIdentifier = 0
  private var outgoing = ArraySlice<UInt8>()
  private var incoming: [UInt8] = []
  // Bytes of `incoming` already searched for the end of a line.
  private var searchedCount = 0
  private var failure: OracleError?

  private static let longestLineBytes = 1 << 24
  private static let outgoingBytes = 1 << 16
  private static let graceSeconds = 1.0
  // How often a program that says nothing is looked at.
  private static let watchSeconds = 0.2

  /// Starts the command at once.
  ///
  /// - Parameters:
  ///   - command: the program, found on PATH unless it has a slash, and its arguments.
  ///   - timeoutSeconds: the longest time without an answer while questions are open; loading what
  ///     the program needs counts, from the first question on.
  ///   - restartLimit: how often the program may be started again in this value's life.
  /// - Throws: `OracleError` if it cannot be started.
  public init(
    command: [String], timeoutSeconds: Double = 60, restartLimit: Int = 3
  ) throws(OracleError) {
    guard let program = command.first, !program.isEmpty else {
      throw OracleError(
        "the oracle command is empty; give a program and its arguments, as [\"judge\", \"--fast\"]")
    }
    guard timeoutSeconds > 0, timeoutSeconds.isFinite else {
      throw OracleError(
        "the oracle command's time limit must be a positive number of seconds, found "
          + "\(timeoutSeconds)")
    }
    guard restartLimit >= 0 else {
      throw OracleError(
        "the oracle command's number of restarts must be 0 or more, found \(restartLimit)")
    }
    self.command = command
    self.timeoutSeconds = timeoutSeconds
    self.restartLimit = restartLimit
    process = try CommandProcess(starting: command)
  }

  deinit { close() }

  /// Scores the completions of each question.
  ///
  /// A program that ends, closes its output or is silent for too long is started again and asked
  /// what is still open. An answer that breaks the protocol ends the program: after any error
  /// thrown here, the oracle stays unusable.
  /// - Parameter questions: prompts with their completions.
  /// - Returns: one answer a question, in order.
  /// - Throws: `OracleError` with the line that broke the protocol, or with how the program ended
  ///   the last time and its last words.
  public func score(_ questions: [OracleQuestion]) throws(OracleError) -> [OracleAnswer] {
    if let failure { throw failure }
    do throws(OracleError) {
      return try ask(questions)
    } catch {
      failure = error
      stop(graceSeconds: 0)
      throw error
    }
  }

  /// Ends the program: its input ends, and a second later it is killed.
  public func close() {
    if failure == nil {
      failure = OracleError("the oracle command \(quoted(command[0])) was closed")
    }
    stop(graceSeconds: CommandOracle.graceSeconds)
  }

  private func stop(graceSeconds: Double) {
    var ignored: [UInt8] = []
    process?.end(incoming: &ignored, graceSeconds: graceSeconds)
    process = nil
  }

  private func ask(_ questions: [OracleQuestion]) throws(OracleError) -> [OracleAnswer] {
    var open = OpenQuestions(questions, firstIdentifier: nextIdentifier)
    nextIdentifier += questions.count
    var deadline = monotonicSeconds() + timeoutSeconds
    while open.count > 0 {
      guard let process else {
        try startAgain(openCount: open.count)
        deadline = monotonicSeconds() + timeoutSeconds
        continue
      }
      while outgoing.count < CommandOracle.outgoingBytes, let line = open.nextLine() {
        outgoing.append(contentsOf: line)
      }
      let left = deadline - monotonicSeconds()
      process.exchange(
        outgoing: &outgoing, incoming: &incoming,
        waitingAtMost: min(max(0, left), CommandOracle.watchSeconds))
      let before = open.count
      try takeLines(into: &open, from: process)
      if open.count < before {
        deadline = monotonicSeconds() + timeoutSeconds
      } else if process.hasEnded {
        try collect(process, &open, isSilent: false)
      } else if monotonicSeconds() >= deadline {
        try collect(process, &open, isSilent: true)
      }
    }
    return open.answers.compactMap { $0 }
  }

  /// Collects a program that ended or was silent; what is open is left to the next one.
  private func collect(
    _ process: CommandProcess, _ open: inout OpenQuestions, isSilent: Bool
  ) throws(OracleError) {
    let status = process.end(
      incoming: &incoming, graceSeconds: isSilent ? 0 : CommandOracle.graceSeconds)
    try takeLines(into: &open, from: process)
    // The last line may lack its end; half a line is part of the crash.
    if let line = try? OracleLine(parsing: incoming) {
      try take(line, bytes: incoming[...], into: &open, from: process)
    }
    open.askAgain()
    incoming = []
    searchedCount = 0
    outgoing = []
    self.process = nil
    lastEnding = isSilent ? "gave no answer for \(timeoutSeconds) seconds and was killed" : status
    lastWords = lastWords(of: process)
  }

  private func startAgain(openCount: Int) throws(OracleError) {
    guard restartCount < restartLimit else {
      throw OracleError(
        "the oracle command \(quoted(command.joined(separator: " "))) \(lastEnding), with "
          + "\(openCount) questions open and \(restartCount) of \(restartLimit) restarts used; it "
          + "must answer every line and go on until its input ends\(lastWords)")
    }
    restartCount += 1
    process = try CommandProcess(starting: command)
  }

  /// Takes the whole lines out of `incoming`.
  private func takeLines(
    into open: inout OpenQuestions, from process: CommandProcess
  ) throws(OracleError) {
    var start = 0
    while let end = incoming[searchedCount...].firstIndex(of: UInt8(ascii: "\n")) {
      let bytes = incoming[start..<end]
      start = end + 1
      searchedCount = start
      if bytes.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) { continue }
      let line: OracleLine
      do throws(OracleError) { line = try OracleLine(parsing: Array(bytes)) } catch {
        throw broken(bytes, error.description, by: process)
      }
      try take(line, bytes: bytes, into: &open, from: process)
    }
    incoming.removeFirst(start)
    searchedCount = incoming.count
    if incoming.count > CommandOracle.longestLineBytes {
      throw broken(
        incoming[...], "is longer than \(CommandOracle.longestLineBytes) bytes", by: process)
    }
  }

  private func take(
    _ line: OracleLine, bytes: ArraySlice<UInt8>, into open: inout OpenQuestions,
    from process: CommandProcess
  ) throws(OracleError) {
    do throws(OracleError) { try open.answer(line) } catch {
      throw broken(bytes, error.description, by: process)
    }
  }

  private func broken(
    _ line: ArraySlice<UInt8>, _ reason: String, by process: CommandProcess
  ) -> OracleError {
    let shown = String(decoding: line.prefix(200), as: UTF8.self)
    return OracleError(
      "the oracle command \(quoted(command.joined(separator: " "))) wrote a line that \(reason); "
        + "expected {\"id\": n, \"scores\": [s, …]} or {\"id\": n, \"error\": \"…\"}, found: "
        + shown + (line.count > 200 ? "…" : "") + lastWords(of: process))
  }

  private func lastWords(of process: CommandProcess) -> String {
    let lines = process.lastErrorLines
    return lines.isEmpty ? "" : "; the end of its standard error:\n\(lines)"
  }

  private func quoted(_ text: String) -> String { "\"\(text)\"" }
}
