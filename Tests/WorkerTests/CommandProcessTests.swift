import Glibc
import Testing

@testable import Worker

extension CommandOracleTests {
  @Test func thousandsOfLongQuestionsDoNotDeadlock() throws {
    // Both directions carry far more than pipes hold, and standard error a little.
    let oracle = try oracle(
      """
      for line in sys.stdin:
          q = json.loads(line)
          print(q["id"], file=sys.stderr)
          print(json.dumps({"id": q["id"], "scores": [len(q["prompt"])], "echo": line}))
          if q["id"] == 1999: sys.stdout.flush()
      """, restartLimit: 0)
    let questions = (0..<2000).map {
      OracleQuestion(
        prompt: String(repeating: "word ", count: 800 + $0 % 7), completions: ["c"])
    }
    let expected: [OracleAnswer] = (0..<2000).map { .scores([Double(5 * (800 + $0 % 7))]) }
    #expect(try oracle.score(questions) == expected)
  }

  @Test func aCommandMayWriteAMegabyteBeforeItReads() throws {
    let oracle = try oracle(
      """
      sys.stderr.write("noise " * 200000 + "\\n")
      sys.stdout.write("\\n" * 1000000)
      sys.stdout.flush()
      for line in sys.stdin:
          sys.stderr.write("x" * 1000000)
          answer(json.loads(line)["id"], [0, 1])
      """, restartLimit: 0)
    let text = String(repeating: "z", count: 100_000)
    let questions = [OracleQuestion](
      repeating: OracleQuestion(prompt: text, completions: [text, text]), count: 3)
    #expect(try oracle.score(questions) == [OracleAnswer](repeating: .scores([0, 1]), count: 3))
  }

  @Test func aSilentCommandIsKilledWithWhatItStarted() throws {
    let command = ["sh", "-c", "sleep 1000 & echo $$ $! > \(folder.path("pids")); wait"]
    let oracle = try CommandOracle(command: command, timeoutSeconds: 0.5, restartLimit: 1)
    let start = monotonicSeconds()
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    #expect(monotonicSeconds() - start < 10)
    #expect(error?.description.contains("no answer for 0.5 seconds and was killed") == true)
    let numbers = (folder.read("pids") ?? "").split(whereSeparator: \.isWhitespace)
      .compactMap { pid_t(String($0)) }
    #expect(numbers.count == 2)
    for number in numbers { #expect(isGone(number)) }
  }

  @Test func aCommandThatEndsLeavingASurvivorIsNoticed() throws {
    // The survivor holds the pipes open, so they never end.
    let oracle = try CommandOracle(
      command: ["sh", "-c", "sleep 1000 & exit 5"], timeoutSeconds: 60, restartLimit: 0)
    let start = monotonicSeconds()
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    #expect(error?.description.contains("exited with status 5") == true)
    #expect(monotonicSeconds() - start < 10)
  }

  @Test func closingItsOutputCountsAsACrash() throws {
    let oracle = try CommandOracle(
      command: ["sh", "-c", "exec >&-; read line; sleep 1000"], restartLimit: 0)
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    #expect(error?.description.contains("closed its output, went on") == true)
  }

  @Test func closingItsInputDoesNotLoseAnswers() throws {
    let program = #"""
      read line; exec <&-; sleep 0.2; printf '{"id": 0, "scores": [3, 4]}\n'; sleep 0.2
      """#
    let oracle = try CommandOracle(command: ["sh", "-c", program], restartLimit: 0)
    #expect(try oracle.score(pairs(1)) == [.scores([3, 4])])
  }

  @Test func theCommandEndsWhenItIsClosed() throws {
    let program = """
      echo $$ > \(folder.path("pid")); while read line; do :; done; echo end > \(folder.path("end"))
      """
    let oracle = try CommandOracle(command: ["sh", "-c", program])
    // Started by the initializer, before any question.
    let start = monotonicSeconds()
    while folder.read("pid")?.hasSuffix("\n") != true, monotonicSeconds() - start < 10 {
      usleep(5000)
    }
    oracle.close()
    oracle.close()
    #expect(folder.read("end") == "end\n")
    let pid = try #require(pid_t((folder.read("pid") ?? "").dropLast()))
    #expect(isGone(pid))
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    #expect(error?.description.contains("was closed") == true)
  }

  @Test func aCommandThatIgnoresItsEndIsKilledOnClose() throws {
    var oracle: CommandOracle? = try CommandOracle(
      command: ["sh", "-c", "echo $$ > \(folder.path("pid")); sleep 1000; sleep 1000"])
    let start = monotonicSeconds()
    while folder.read("pid")?.hasSuffix("\n") != true, monotonicSeconds() - start < 10 {
      usleep(5000)
    }
    #expect(oracle != nil)
    oracle = nil
    #expect(monotonicSeconds() - start < 8)
    let pid = try #require(pid_t((folder.read("pid") ?? "").dropLast()))
    #expect(isGone(pid))
  }

  @Test func signalsOfTheRunAreNotInherited() throws {
    // Signals 32 and 33 are the C library's own, which it ignores.
    let program = #"""
      read line
      blocked=$(grep -c 'SigBlk:.*0000000000000000' /proc/self/status)
      ignored=$(grep -c 'SigIgn:.*[08]0000000$' /proc/self/status)
      group=$(ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat)
      printf '{"id": 0, "scores": [%s, %s, %s]}\n' $blocked $ignored $((group == $$))
      """#
    var blocked = sigset_t()
    sigemptyset(&blocked)
    sigaddset(&blocked, SIGUSR2)
    var before = sigset_t()
    pthread_sigmask(SIG_BLOCK, &blocked, &before)
    let handler = signal(SIGUSR2, SIG_IGN)
    defer {
      pthread_sigmask(SIG_SETMASK, &before, nil)
      signal(SIGUSR2, handler)
    }
    let oracle = try CommandOracle(command: ["sh", "-c", program])
    let question = OracleQuestion(prompt: "", completions: ["a", "b", "c"])
    let answers = try oracle.score([question])
    #expect(answers == [.scores([1, 1, 1])])
  }

  @Test func aCommandThatCannotStartIsASentence() throws {
    folder.write("plain.txt", "no program\n")
    folder.write("plain.sh", "no program\n", mode: 0o755)
    folder.write("lost.sh", "#!/no/such/interpreter\n", mode: 0o755)
    let cases: [(command: [String], expected: String)] = [
      ([], "is empty"), ([""], "is empty"),
      (["sail-no-such-program", "x"], "\"sail-no-such-program\" was not found on PATH"),
      ([folder.path("nothing")], "was not found (or"),
      ([folder.path("lost.sh")], "first line names"),
      ([folder.path("plain.txt")], "is not executable"), (["/tmp"], "is not executable"),
      ([folder.path("plain.sh")], "#!/bin/sh"), (["sh", "a\0b"], "zero byte"),
    ]
    for (command, expected) in cases {
      let error = #expect(throws: OracleError.self) { try CommandOracle(command: command) }
      #expect(error?.description.contains(expected) == true, "\(command)")
    }
    for seconds in [0, -1, Double.infinity, Double.nan] {
      #expect(throws: OracleError.self) {
        try CommandOracle(command: ["sh"], timeoutSeconds: seconds)
      }
    }
    #expect(throws: OracleError.self) { try CommandOracle(command: ["sh"], restartLimit: -1) }
  }

  @Test func descriptorsAreNotLeaked() throws {
    let before = openDescriptorCount()
    for _ in 0..<5 {
      let oracle = try CommandOracle(command: ["sh", "-c", "exit 1"], restartLimit: 1)
      #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
      #expect(throws: OracleError.self) { try CommandOracle(command: ["sail-no-such-program"]) }
    }
    #expect(openDescriptorCount() < before + 10)
  }

  @Test func aRuleScoresEachCompletion() throws {
    let oracle = Oracle.rule(name: "inverse length") { prompt, completion in
      prompt == "bad" ? 1 / Double(completion.utf8.count) : Double(completion.utf8.count)
    }
    let answers = try oracle.score([
      OracleQuestion(prompt: "", completions: ["ab", "abc"]),
      OracleQuestion(prompt: "bad", completions: ["ab", ""]),
      OracleQuestion(prompt: "", completions: []),
    ])
    #expect(
      answers == [
        .scores([2, 3]),
        .failed("the rule \"inverse length\" gave inf for completion 2 of 2"), .scores([]),
      ])
    let command = Oracle.command(try CommandOracle(command: ["sh", "-c", "exit 1"]))
    #expect(throws: OracleError.self) { try command.score(pairs(1)) }
  }

  private func isGone(_ number: pid_t) -> Bool {
    let start = monotonicSeconds()
    // Somebody else has to collect what the command started.
    while monotonicSeconds() - start < 5 {
      if kill(number, 0) == -1 && errno == ESRCH { return true }
      if let file = fopen("/proc/\(number)/stat", "r") {
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = fread(&bytes, 1, bytes.count, file)
        fclose(file)
        if String(decoding: bytes.prefix(count), as: UTF8.self).contains(") Z ") { return true }
      }
      usleep(5000)
    }
    return false
  }

  private func openDescriptorCount() -> Int {
    guard let directory = opendir("/proc/self/fd") else { return 0 }
    defer { closedir(directory) }
    var count = 0
    while readdir(directory) != nil { count += 1 }
    return count
  }
}
