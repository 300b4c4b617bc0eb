import JSONText
import Testing

extension EndToEndTests {
  /// `generation.missing_eos_penalty` in training, and not in evaluation.
  @Suite struct MissingEndPenalty {
    /// Scores a completion by the bytes of its JSON text: cut completions tend to win.
    private static let longer = """
      #!/bin/sh
      LC_ALL=C
      while IFS= read -r line; do
        id=${line#*'"id": '}
        id=${id%%,*}
        texts=${line##*'"completions": ["'}
        texts=${texts%'"]}'}
        first=${texts%%'", "'*}
        second=${texts#*'", "'}
        printf '{"id": %s, "scores": [%s, %s]}\\n' "$id" "${#first}" "${#second}"
      done
      """
    private static let limit = 96
    private static let penalty = 10_000.0

    @Test func itFlipsTheLabelsOfCutCompletions() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let script = try folder.write("longer.sh", Self.longer)
        // One step from the same weights, which hardly move: the same completions in both runs.
        let settings = [
          "oracle={command: [sh, \(script)]}", "sail={dpr: {fraction: 1, response_coefficient: 0}}",
          "batch.pairs=64", "generation.max_new_tokens=\(Self.limit)", "steps=1",
          "optimizer.learning_rate=1e-30",
        ]
        try sailDone(run.arguments("plain", settings))
        try sailDone(
          run.arguments("less", settings + ["generation.missing_eos_penalty=\(Self.penalty)"]))
        let plain = try folder.lines("plain/samples.jsonl")
        let less = try folder.lines("less/samples.jsonl")
        try #require(plain.count == 64 && less.count == 64)
        var flipCount = 0
        for (before, after) in zip(plain, less) {
          #expect(before["token_ids"]?.text == after["token_ids"]?.text)
          let lost = zip(try numbers(before, "scores"), try numbers(after, "scores")).map {
            $0 - $1
          }
          let lengths = try before.list("token_ids").map { $0.elements?.count ?? 0 }
          for (lost, length) in zip(lost, lengths) {
            #expect(lost == 0 || length == Self.limit && lost == Self.penalty)
            if length < Self.limit { #expect(lost == 0) }
          }
          if lost == [0, Self.penalty] { #expect(after["chosen"]?.integer == 0) }
          if lost == [Self.penalty, 0] { #expect(after["chosen"]?.integer == 1) }
          if lost[0] == lost[1] { #expect(before["chosen"]?.text == after["chosen"]?.text) }
          if before["chosen"]?.text != after["chosen"]?.text { flipCount += 1 }
        }
        #expect(flipCount >= 5)
        try checkMetrics(folder, less)
      }
    }

    private func checkMetrics(_ folder: WorkFolder, _ rows: [JSON]) throws {
      let plain = try folder.lines("plain/metrics.jsonl")
      let less = try folder.lines("less/metrics.jsonl")
      try #require(plain.count == 2 && less.count == 2)
      let scores = try rows.flatMap { try numbers($0, "scores") }
      let mean = scores.reduce(0, +) / Double(scores.count)
      #expect(relativeDifference(try less[0].value("objective/scores"), mean) < 1e-12)
      for key in ["eval_objective/scores", "eval_win_rate"] {
        #expect(try plain[1].value(key) == less[1].value(key), "\(key)")
      }
    }

    private func numbers(_ row: JSON, _ key: String) throws -> [Double] {
      try row.list(key).compactMap(\.number)
    }
  }
}
