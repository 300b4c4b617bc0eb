import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// What a step of online rows says of itself in samples.jsonl.
  @Suite struct OnlineSteps {
    /// All routes, responses of a round that serves three steps, drawn at another temperature.
    static let rounds = [
      "sail={ddp: {fraction: 0.2, labels: sample}, dpp: {fraction: 0.3, labels: sample, "
        + "response_coefficient: 0.1}, dpr: {fraction: 0.3, response_coefficient: 0.1, labels: soft}, "
        + "importance_weights: true, term_norms_every: 2}",
      "objective={revkl: 0.01, revkl_on: reference, label_smoothing: 0.1}",
      "generation={max_new_tokens: 16, temperature: 0.9, every: 3}",
      "optimizer={name: rmsprop, momentum: 0.9, learning_rate: 1e-4}",
    ]

    @Test func promptAndResponsesBelongTogether() throws {
      // Decoding saw the prompt that the training forward puts before the same tokens.
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("out", ["steps=2"]), .ranks(2))
        let online = try folder.lines("out/samples.jsonl").filter { $0.has("generation_logps") }
        #expect(online.count >= 8)
        for row in online {
          let (drawn, trained) = (try row.numbers("generation_logps"), try row.numbers("logps"))
          for (one, other) in zip(drawn, trained) {
            #expect(relativeDifference(one, other) < 1e-5, "\(row.text.prefix(200))")
          }
        }
        // Another row's prompt would show: the rows' texts and prompts differ.
        #expect(Set(try online.map { try $0.words("prompt") }).count >= 4)
      }
    }

    @Test func labelsComeFromTheTrainingForward() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("out", Self.rounds))
        let rows = try folder.lines("out/samples.jsonl")
        #expect(rows.count == 96)
        var largestMove = 0.0
        for row in rows {
          let logs = try row.numbers("logps")
          let reference = try row.numbers("ref_logps")
          let u = 0.1 * ((logs[0] - reference[0]) - (logs[1] - reference[1]))
          #expect(abs(try row.value("u") - u) < 1e-12)
          guard row["label"]?.string == "sample" else { continue }
          // F belongs to the drawn order at this u.
          let sign: Double = try row.value("chosen") == 0 ? 1 : -1
          #expect(abs(try row.value("F") + log1p(exp(-sign * u))) < 1e-12)
          if row.has("generation_logps") {
            let drawn = try row.numbers("generation_logps")
            let moved = (drawn[0] - drawn[1]) - (logs[0] - logs[1])
            largestMove = max(largestMove, abs(moved))
          }
        }
        // The test can tell: responses are older than the weights that label them.
        #expect(largestMove > 0.01)
      }
    }

    @Test func importanceWeightsAreRatiosOfProbabilities() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("out", Self.rounds))
        let rows = try folder.lines("out/samples.jsonl")
        let online = rows.filter { $0.has("generation_logps") }
        for row in online {
          let (drawn, logs) = (try row.numbers("generation_logps"), try row.numbers("logps"))
          let ratio = exp(logs[0] + logs[1] - drawn[0] - drawn[1])
          #expect(relativeDifference(try row.value("weight"), min(10, ratio)) < 1e-9)
        }
        #expect(try online.contains { abs(try $0.value("weight") - 1) > 0.05 })
        let others = rows.filter { !$0.has("generation_logps") }
        #expect(try others.allSatisfy { try $0.value("weight") == 1 })
        // RevKL draws a response from the reference for each offline row, and for no other.
        #expect(
          others.allSatisfy { $0.has("reference_ids") == ($0["route"]?.string == "offline") })
        let last = try #require(
          try folder.lines("out/metrics.jsonl").last { $0.has("sail/effective_share") })
        let share = try last.value("sail/effective_share")
        #expect(share > 0 && share < 1)
      }
    }

    @Test func termNormsAreMeasuredWhenDueAndChangeNothing() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("every", ["sail.term_norms_every=1"]))
        try sailDone(run.arguments("never", ["sail.term_norms_every=0"]))
        #expect(
          try folder.bytes("every/model/model.safetensors")
            == folder.bytes("never/model/model.safetensors"))
        #expect(
          try folder.bytes("every/samples.jsonl") == folder.bytes("never/samples.jsonl"))
        let steps = try folder.lines("every/metrics.jsonl").filter { $0.has("grad_norm") }
        for line in steps {
          let norms = try ["t1", "t2", "t3"].map { try line.value("sail/\($0)_norm") }
          // No sum of vectors is longer than the sum of their lengths.
          let total = try line.value("grad_norm")
          #expect(total <= 1.0001 * norms.reduce(0, +))
          #expect(norms[1] > 0)
        }
        #expect(
          try folder.lines("never/metrics.jsonl").allSatisfy { !$0.has("sail/t2_norm") })
        // A single term is the whole gradient.
        try sailDone(
          run.arguments(
            "one",
            [
              "steps=1", "sail.ddp.fraction=0", "sail.dpp.fraction=0",
              "sail.dpr={fraction: 0.5, response_coefficient: 0}",
            ]))
        let line = try #require(try folder.lines("one/metrics.jsonl").first)
        #expect(
          relativeDifference(try line.value("sail/t2_norm"), try line.value("grad_norm")) < 1e-6)
        #expect(try line.value("sail/t1_norm") == 0 && line.value("sail/t3_norm") == 0)
      }
    }
  }
}
