import Foundation
import Glibc
import JSONText
import Testing

extension EndToEndTests {
  /// Oracles and judges that are programs.
  @Suite struct CommandOracles {
    /// Scores a completion by minus the bytes of its JSON text: plain sh, on every machine.
    private static let shorter = """
      #!/bin/sh
      LC_ALL=C
      while IFS= read -r line; do
        id=${line#*'"id": '}
        id=${id%%,*}
        texts=${line##*'"completions": ["'}
        texts=${texts%'"]}'}
        first=${texts%%'", "'*}
        second=${texts#*'", "'}
        printf '{"id": %s, "scores": [-%s, -%s]}\\n' "$id" "${#first}" "${#second}"
      done
      """

    private func score(_ text: JSON) -> Double { -Double(text.text.utf8.count - 2) }

    @Test func aProgramLabelsRows() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let script = try folder.write("shorter.sh", Self.shorter)
        let settings = [
          "oracle={command: [sh, \(script)]}", "sail.dpr.fraction=0.6", "sail.ddp.fraction=0",
          "steps=3", "evaluate.every=0",
        ]
        let alone = try run.result("alone", settings)
        let two = try run.result("two", settings, .ranks(2))
        #expect(two == alone, "\(two.differences(from: alone))")

        let rows = try folder.lines("alone/samples.jsonl").filter { $0["route"]?.string == "dpr" }
        #expect(rows.count >= 15)
        for row in rows {
          let scores = try row.list("scores").compactMap(\.number)
          #expect(scores == (try row.list("completions").map(score)))
          let chosen = scores[0] == scores[1] ? nil : scores[0] > scores[1] ? 0 : 1
          #expect(row["chosen"]?.integer == chosen)
          #expect(row["kept"]?.boolean == true)
        }
      }
    }

    @Test func aProgramJudgesAnEvaluation() throws {
      try withWorkFolder { folder in
        let script = try folder.write("shorter.sh", Self.shorter)
        func evaluate(_ output: String, _ launch: Launch) throws {
          try sailDone(
            [
              "evaluate", "--model", fixture("gqa-tied"), "--reference",
              fixture("mha-untied-sharded"), "--data", fixture("pairs.jsonl"), "--judge",
              "sh \(script)", "--max-new-tokens", "16", "--out", folder.file(output),
            ], launch)
        }
        try evaluate("alone", .alone)
        try evaluate("two", .ranks(2))
        for file in ["pairs.jsonl", "generations.jsonl"] {
          #expect(try folder.bytes("two/\(file)") == folder.bytes("alone/\(file)"), "\(file)")
        }
        let expected = try fileJSON(fixture("gqa-tied/expected.json")).list("pairs")
        let lines = try folder.lines("alone/pairs.jsonl")
        try #require(lines.count == 8)
        for (line, pair) in zip(lines, expected) {
          #expect(try line.value("score") == score(try #require(line["completion"])))
          for key in ["logps/chosen", "ref_logps/rejected"] {
            #expect(relativeDifference(try line.value(key), try pair.value(key)) < 2e-5)
          }
        }
        // The judge scores the data's chosen responses too.
        for (line, pair) in zip(lines, try fileLines(fixture("pairs.jsonl"))) {
          #expect(try line.value("chosen_score") == score(try #require(pair["chosen"])))
        }
      }
    }

    @Test func rowsThatAProgramCannotScoreAreDropped() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let script = try folder.write(
          "refuses.sh",
          """
          while IFS= read -r line; do
            id=${line#*'"id": '}
            printf '{"id": %s, "error": "no opinion"}\\n' "${id%%,*}"
          done
          """)
        try sailDone(
          run.arguments(
            "out", ["oracle={command: [sh, \(script)]}", "steps=2", "evaluate.every=0"]))
        let rows = try folder.lines("out/samples.jsonl")
        let dropped = rows.filter { $0["kept"]?.boolean == false }
        #expect(!dropped.isEmpty)
        #expect(
          dropped.count == rows.filter { $0["route"]?.string == "dpr" }.count)
        let counted = try folder.lines("out/metrics.jsonl").compactMap {
          $0["sail/dropped"]?.number
        }
        #expect(counted.count == 2)
        #expect(counted.reduce(0, +) == Double(dropped.count))
        #expect(try dropped.allSatisfy { try $0.value("baseline") == 0 })
      }
    }

    @Test(arguments: [nil, 2])
    func aProgramThatEndsAtOnceEndsTheRun(_ ranks: Int?) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let script = try folder.write("broken.sh", "echo 'no model here' >&2; exit 7\n")
        let job = try sail(
          run.arguments("out", ["oracle={command: [sh, \(script)]}"]), Launch(ranks: ranks))
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.complaints.count == 1, "\(job.errors)")
        #expect(job.complaints.first?.contains("exited with status 7") == true, "\(job.errors)")
        // What the program said follows.
        #expect(job.errors.contains("no model here"), "\(job.errors)")
        #expect(job.seconds < 30)
      }
    }

    @Test(arguments: [nil, 2])
    func aProgramThatNeverAnswersEndsTheRun(_ ranks: Int?) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let script = try folder.write("silent.sh", "while read -r line; do :; done\n")
        let oracle = "oracle={command: [sh, \(script)], timeout: 1, restarts: 1}"
        let job = try sail(run.arguments("out", [oracle]), Launch(ranks: ranks))
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.complaints.count == 1, "\(job.errors)")
        for part in ["gave no answer for 1.0 seconds", "1 of 1 restarts used"] {
          #expect(job.complaints.first?.contains(part) == true, "\(job.errors)")
        }
        #expect(job.seconds > 2 && job.seconds < 20)
      }
    }

    /// A program that reads nothing does not see that its input ends.
    @Test(arguments: [SIGTERM, SIGKILL])
    func aHungProgramDoesNotOutliveTheRun(_ signal: Int32) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let script = try folder.write(
          "hung.sh", "echo $$ > \(folder.file("started")); exec sleep 1000\n")
        let job = try RunningJob(run.arguments("out", ["oracle={command: [sh, \(script)]}"]))
        try job.wait(until: "the program runs") {
          try folder.exists("started") && folder.bytes("started").last == 10
        }
        let number = String(decoding: try folder.bytes("started").dropLast(), as: UTF8.self)
        job.send(signal)
        #expect(try job.finish().code == nil)
        let end = Date().addingTimeInterval(10)
        while isRunning(number), Date() < end { usleep(20_000) }
        #expect(!isRunning(number))
      }
    }

    /// Whether a process exists and has not ended.
    private func isRunning(_ number: String) -> Bool {
      guard let text = try? String(contentsOfFile: "/proc/\(number)/stat", encoding: .utf8) else {
        return false
      }
      let state = text.drop { $0 != ")" }.dropFirst(2).first
      return state != "Z" && state != "X"
    }
  }
}
