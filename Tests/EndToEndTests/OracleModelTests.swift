import JSONText
import Testing

extension EndToEndTests {
  /// Another model's implicit reward as oracle and judge.
  @Suite struct OracleModels {
    /// f32 forwards in other batches and a difference of sums.
    private static let tolerance = 1e-4
    private static let limit = 160
    private static let settings = [
      "sail={dpr: {fraction: 1, response_coefficient: 0}}", "generation.max_new_tokens=\(limit)",
      "steps=2", "evaluate.every=1",
    ]
    private static let model = fixture("gqa-tied")
    private static let reference = fixture("mha-untied-sharded")

    @Test func scoresAreThoseOfSailScore() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings =
          Self.settings + [
            "oracle={model: \(Self.model), reference: \(Self.reference), beta: 0.3}"
          ]
        let alone = try run.result("alone", settings)
        let two = try run.result("two", settings, .ranks(2))
        #expect(two == alone, "\(two.differences(from: alone))")
        try check(folder, rows: try folder.lines("alone/samples.jsonl"), beta: 0.3)
        let last = try #require(try folder.lines("alone/metrics.jsonl").last)
        #expect(try last.value("eval_objective/scores").isFinite)
        #expect(try last.value("eval_win_rate") >= 0)
      }
    }

    /// Without its own, the oracle's reference is the run's and β the objective's.
    @Test func theReferenceOfTheRunServes() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings =
          Self.settings + [
            "model=\(Self.reference)", "oracle={model: \(Self.model)}", "objective.beta=0.2",
            "optimizer.learning_rate=0.01",
          ]
        let alone = try run.result("alone", settings)
        let two = try run.result("two", settings, .ranks(2))
        #expect(two == alone, "\(two.differences(from: alone))")
        // After a step too: the reference stays what the run began with.
        try check(folder, rows: try folder.lines("alone/samples.jsonl"), beta: 0.2)
      }
    }

    /// Ended completions, which `sail score` takes every text for.
    private func check(_ folder: WorkFolder, rows: [JSON], beta: Double) throws {
      try #require(rows.count == 32)
      let pairs = try rows.map { row -> JSON in
        let texts = try row.list("completions")
        let prompt = JSON.string(try row.words("prompt"))
        return ["prompt": prompt, "chosen": texts[0], "rejected": texts[1]]
      }
      try folder.write("scored.jsonl", pairs.map { $0.text + "\n" }.joined())
      try sailDone([
        "score", "--model", Self.model, "--reference", Self.reference, "--data",
        folder.file("scored.jsonl"), "--out", folder.file("scores.jsonl"),
      ])
      var comparedCount = 0
      for (row, line) in zip(rows, try folder.lines("scores.jsonl")) {
        let scores = try row.list("scores").compactMap(\.number)
        #expect(row["chosen"]?.integer == (scores[0] > scores[1] ? 0 : 1))
        let tokens = try row.list("token_ids").map { $0.elements?.count ?? 0 }
        for (index, side) in ["chosen", "rejected"].enumerated() where tokens[index] < Self.limit {
          let wanted =
            beta * (try line.value("logps/\(side)") - line.value("ref_logps/\(side)"))
          #expect(relativeDifference(scores[index], wanted) < Self.tolerance)
          comparedCount += 1
        }
      }
      #expect(comparedCount >= 4)
    }

    @Test(arguments: [true, false])
    func aModelJudges(_ hasOwnReference: Bool) throws {
      try withWorkFolder { folder in
        func evaluate(_ output: String, _ launch: Launch, _ more: [String] = []) throws {
          let option = hasOwnReference ? "--judge-reference" : "--reference"
          try sailDone(
            [
              "evaluate", "--model", fixture("gqa-untied-f16"), "--data", fixture("pairs.jsonl"),
              "--judge", "model:\(Self.model)", option, Self.reference, "--max-new-tokens", "16",
              "--beta", "0.4", "--out", folder.file(output),
            ] + more, launch)
        }
        try evaluate("alone", .alone)
        // Against itself, all is a tie.
        let generations = folder.file("alone/generations.jsonl")
        try evaluate("two", .ranks(2), ["--against", "self=\(generations)"])
        for file in ["pairs.jsonl", "generations.jsonl"] {
          #expect(try folder.bytes("two/\(file)") == folder.bytes("alone/\(file)"), "\(file)")
        }
        let expected = try fileJSON(fixture("gqa-tied/expected.json")).list("pairs")
        let lines = try folder.lines("alone/pairs.jsonl")
        try #require(lines.count == 8 && expected.count == 8)
        for (line, pair) in zip(lines, expected) {
          let wanted = 0.4 * (try pair.value("logps/chosen") - pair.value("ref_logps/chosen"))
          #expect(relativeDifference(try line.value("chosen_score"), wanted) < Self.tolerance)
        }
        let metrics = try fileJSON(folder.file("two/metrics.json"))
        #expect(try metrics["win_rate/self"]?.value("value") == 0.5)
        #expect(try metrics["win_rate_strict/self"]?.value("value") == 0)
      }
    }

    @Test func aChangedOracleIsNoticedOnResume() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try folder.copy(Self.model, as: "judge")
        let settings =
          Self.settings + [
            "oracle={model: \(folder.file("judge")), reference: \(Self.reference)}"
          ]
        try sailDone(run.arguments("out", settings + ["steps=1"]))
        var bytes = try folder.bytes("judge/model.safetensors")
        bytes[bytes.count - 1] ^= 1
        try folder.write("judge/model.safetensors", bytes: bytes)
        let changed = try sail(run.arguments("out", settings, resume: "auto"))
        #expect(changed.code == 3, "\(changed.errors)")
        #expect(
          changed.complaints.first?.contains("judge/model.safetensors has changed since") == true)
        bytes[bytes.count - 1] ^= 1
        try folder.write("judge/model.safetensors", bytes: bytes)
        try sailDone(run.arguments("out", settings, resume: "auto"))
      }
    }

    @Test func unfitOraclesAreRefused() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        func change(_ name: String, _ key: String, _ value: JSON) throws {
          if !folder.exists(name) { try folder.copy(Self.model, as: name) }
          let members = try fileJSON(folder.file("\(name)/config.json")).members ?? []
          let changed = members.map { $0.key == key ? JSON.Member(key: key, value: value) : $0 }
          try folder.write("\(name)/config.json", JSON.object(changed).text)
        }
        try change("larger", "vocab_size", 400)
        // 600 GB of weights, which are counted with those of the run.
        try change("huge", "num_hidden_layers", 400)
        try change("huge", "layer_types", .null)
        try change("huge", "intermediate_size", 4_194_304)
        let huge = folder.file("huge")
        let (larger, reward) = (folder.file("larger"), fixture("rewards/qwen2"))
        let head = [
          "rewards/qwen2/config.json", "has a reward head", "an oracle's reference wants",
        ]
        let cases: [(oracle: String, parts: [String])] = [
          ("model: missing", ["missing/config.json", "no such file"]),
          ("model: \(Self.model), reference: missing", ["missing/config.json", "no such file"]),
          ("model: \(larger), reference: \(Self.reference)", ["vocab_size of 384", "400"]),
          ("model: \(larger)", ["vocab_size of 758", "give the oracle its own"]),
          ("model: \(Self.model), reference: \(reward)", head),
          ("model: \(huge), reference: \(Self.reference)", ["the run needs about", "of memory"]),
        ]
        for (oracle, parts) in cases {
          let job = try sail(run.arguments("out", Self.settings + ["oracle={\(oracle)}"]))
          #expect(job.code == (oracle.contains(huge) ? 2 : 3), "\(oracle): \(job.errors)")
          #expect(job.complaints.count == 1, "\(oracle): \(job.errors)")
          for part in parts {
            #expect(job.complaints.first?.contains(part) == true, "\(part): \(job.errors)")
          }
        }
        let evaluate = [
          "evaluate", "--model", Self.model, "--data", fixture("pairs.jsonl"), "--out", "e",
        ]
        let alone = try sail(evaluate + ["--judge", "model:\(Self.model)"])
        #expect(alone.code == 2 && alone.errors.contains("needs a reference"), "\(alone.errors)")
        let astray = try sail(evaluate + ["--judge", "rule:shorter", "--judge-reference", "x"])
        #expect(astray.code == 64 && astray.errors.contains("--judge-reference x goes with"))
      }
    }
  }
}
