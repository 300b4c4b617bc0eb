import Glibc
import JSONText
import Testing

@testable import Worker

/// Programs are started one after the other: pipes become close-on-exec one call after they exist.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct CommandOracleTests {
  let folder = TemporaryFolder()

  @Test func answersInReverseOrderAreMatchedByNumber() throws {
    let oracle = try oracle(
      """
      lines = [json.loads(sys.stdin.readline()) for _ in range(5)]
      for line in reversed(lines):
          answer(line["id"], [len(c) for c in line["completions"]])
      for line in sys.stdin:
          answer(json.loads(line)["id"], [7])
      """)
    let questions = (0..<5).map { number in
      OracleQuestion(
        prompt: "p", completions: (0..<2).map { String(repeating: "x", count: number * 2 + $0) })
    }
    let expected: [OracleAnswer] = (0..<5).map { .scores([Double($0 * 2), Double($0 * 2 + 1)]) }
    #expect(try oracle.score(questions) == expected)
    // Numbers go on: the second call is not confused with the first.
    let one = OracleQuestion(prompt: "", completions: [""])
    #expect(try oracle.score([one, one]) == [.scores([7]), .scores([7])])
    #expect(try oracle.score([]) == [])
  }

  @Test func textsArriveAndReturnAsUTF8() throws {
    let oracle = try oracle(
      """
      for line in sys.stdin:
          q = json.loads(line)
          print(json.dumps({"id": q["id"], "error": q["prompt"] + "|" + q["completions"][0]},
                           ensure_ascii=False), flush=True)
      """)
    let prompt = "Grüße, 你好 \u{1F469}\u{200D}\u{1F469} \"a\\b\"\n\r\t\u{1}\u{7F}\u{2028}\u{85}"
    let completion = "e\u{301} is not \u{E9}, \u{212B} is not \u{C5}"
    let answers = try oracle.score([OracleQuestion(prompt: prompt, completions: [completion])])
    guard case .failed(let text) = try #require(answers.first) else {
      Issue.record("expected an error, found \(answers)")
      return
    }
    // String == would accept other compositions.
    #expect(Array(text.utf8) == Array("\(prompt)|\(completion)".utf8))
  }

  @Test func anErrorConcernsItsRowOnly() throws {
    let oracle = try oracle(
      """
      for line in sys.stdin:
          n = json.loads(line)["id"]
          if n % 2: print(json.dumps({"id": n, "error": "too long", "scores": None}), flush=True)
          else: print(json.dumps({"id": n, "scores": [n, -0.5], "error": None}) + "\\r\\n")
      """)
    #expect(
      try oracle.score(pairs(3)) == [.scores([0, -0.5]), .failed("too long"), .scores([2, -0.5])])
  }

  @Test func aSlowCommandHasItsTimeForEachAnswer() throws {
    let oracle = try oracle(
      """
      for line in sys.stdin:
          time.sleep(0.3)
          answer(json.loads(line)["id"], [1, 2])
      """, timeoutSeconds: 1.4, restartLimit: 0)
    // 1.5 s in all, more than the limit for one answer.
    #expect(try oracle.score(pairs(5)) == [OracleAnswer](repeating: .scores([1, 2]), count: 5))
  }

  @Test func afterACrashOnlyOpenQuestionsAreAskedAgain() throws {
    let log = folder.path("log")
    let oracle = try oracle(
      """
      log = open("\(log)", "a")
      first = log.tell() == 0
      for line in sys.stdin:
          n = json.loads(line)["id"]
          print(n, file=log, flush=True)
          if n == 2 and first: print("bang", file=sys.stderr); sys.exit(3)
          answer(n, [n, 0])
      """)
    #expect(
      try oracle.score(pairs(5)) == (0..<5).map { .scores([Double($0), 0]) })
    #expect(folder.read("log") == "0\n1\n2\n2\n3\n4\n")
  }

  @Test func aCommandThatAlwaysCrashesIsAnError() throws {
    let log = folder.path("log")
    let oracle = try oracle(
      """
      print("start", file=open("\(log)", "a"))
      print("loading\\nno weights found", file=sys.stderr)
      sys.exit(7)
      """, restartLimit: 2)
    // Far more than a pipe holds: writing to a program that is gone must not end this process.
    let text = String(repeating: "long ", count: 100_000)
    let questions = [OracleQuestion(prompt: text, completions: [text])]
    let error = #expect(throws: OracleError.self) { try oracle.score(questions) }
    let sentence = error?.description ?? ""
    #expect(sentence.contains("exited with status 7"))
    #expect(sentence.contains("2 of 2 restarts"))
    #expect(sentence.contains("loading\nno weights found"))
    #expect(folder.read("log") == "start\nstart\nstart\n")
    // It stays unusable and is not started again.
    #expect(throws: OracleError.self) { try oracle.score(questions) }
    #expect(folder.read("log") == "start\nstart\nstart\n")
  }

  @Test func aSignalIsNamed() throws {
    let oracle = try CommandOracle(command: ["sh", "-c", "read line; kill -9 $$"], restartLimit: 0)
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    #expect(error?.description.contains("ended by signal 9") == true)
  }

  @Test func restartsAreCountedOverAllCalls() throws {
    // One answer a process, without an end of line; the next call finds it gone.
    let program = ##"""
      read line; id=${line#*: }; printf '{"id": %s, "scores": [1, 2]}' "${id%%,*}"
      """##
    let oracle = try CommandOracle(command: ["sh", "-c", program], restartLimit: 2)
    for _ in 0..<3 { #expect(try oracle.score(pairs(1)) == [.scores([1, 2])]) }
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    #expect(error?.description.contains("exited with status 0") == true)
  }

  @Test(arguments: [
    ("hello", "not valid JSON"), ("[1]", "a JSON object, found an array"),
    (#"{"scores": [1, 2]}"#, #""id", found none"#),
    (#"{"id": "0", "scores": [1, 2]}"#, #"found "0""#),
    (#"{"id": 0}"#, "found neither"), (#"{"id": 0, "scores": 3}"#, "found an integer"),
    (#"{"id": 0, "error": 3}"#, "as \"error\", found an integer"),
    (#"{"id": 0, "scores": [1]}"#, "2 completions, found 1"),
    (#"{"id": 0, "scores": [1, 2, 3]}"#, "2 completions, found 3"),
    (#"{"id": 0, "scores": []}"#, "2 completions, found 0"),
    (#"{"id": 0, "scores": [1, NaN]}"#, "not valid JSON"),
    (#"{"id": 0, "scores": [1, 1e999]}"#, "not valid JSON"),
    (#"{"id": 0, "scores": [1, null]}"#, "finite numbers as \"scores\", found null"),
    (#"{"id": 0, "scores": [1, "2"]}"#, #"found "2""#),
    (#"{"id": 5, "scores": [1, 2]}"#, "not asked, \"id\" 5"),
    (#"{"id": -1, "scores": [1, 2]}"#, "not asked"),
    (#"{"id": -9223372036854775808, "scores": [1, 2]}"#, "not asked"),
    (#"{"id": 9223372036854775807, "error": "x"}"#, "not asked"),
  ])
  func aLineThatBreaksTheProtocolIsShown(line: String, reason: String) throws {
    let oracle = try CommandOracle(
      command: ["sh", "-c", "read line; echo why >&2; printf '%s\\n' \"$0\"; read line", line])
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    let sentence = error?.description ?? ""
    #expect(sentence.contains(reason), "\(sentence)")
    #expect(sentence.contains("found: \(line)"), "\(sentence)")
  }

  @Test func aSecondAnswerIsRefused() throws {
    let oracle = try CommandOracle(
      command: [
        "sh", "-c",
        #"read a; read b; printf '{"id": 0, "scores": [1, 2]}\n{"id": 0, "scores": [1, 2]}\n'; read c"#,
      ])
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(2)) }
    #expect(error?.description.contains("question 0 a second time") == true)
  }

  @Test func bytesThatAreNotUTF8AreRefused() throws {
    let oracle = try CommandOracle(command: ["sh", "-c", #"read a; printf '\377\376\n'; read b"#])
    #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
  }

  @Test func anEndlessLineIsRefused() throws {
    let oracle = try CommandOracle(command: ["sh", "-c", "yes | tr -d '\\n'"])
    let error = #expect(throws: OracleError.self) { try oracle.score(pairs(1)) }
    #expect(error?.description.contains("longer than") == true)
    #expect((error?.description.utf8.count ?? 0) < 1000)
  }
}

extension CommandOracleTests {
  /// An oracle in Python, with `answer(id, scores)` at hand.
  func oracle(
    _ program: String, timeoutSeconds: Double = 30, restartLimit: Int = 3
  ) throws -> CommandOracle {
    let prelude = """
      import json, os, sys, time
      def answer(n, scores): print(json.dumps({"id": n, "scores": scores}), flush=True)

      """
    folder.write("oracle.py", prelude + program + "\n")
    return try CommandOracle(
      command: ["python3", folder.path("oracle.py")], timeoutSeconds: timeoutSeconds,
      restartLimit: restartLimit)
  }

  /// Questions with two short completions each.
  func pairs(_ count: Int) -> [OracleQuestion] {
    (0..<count).map { OracleQuestion(prompt: "question \($0)", completions: ["yes", "no"]) }
  }
}
