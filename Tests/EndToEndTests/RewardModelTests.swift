import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// Reward models beyond their reference values: options, metrics, training from a causal folder, as
  /// oracle and judge.
  @Suite struct RewardModels {
    private static let rows = fixture("rewards/rows.jsonl")

    private func score(_ model: String, _ data: String, _ output: String) -> [String] {
      ["reward", "--model", model, "--data", data, "--out", output]
    }

    /// f32 forwards of two programs.
    private func expectClose(_ found: [Double], _ expected: [Double], _ comment: String = "") {
      #expect(found.count == expected.count)
      for (index, (one, other)) in zip(found, expected).enumerated() {
        #expect(
          abs(one - other) <= 1e-5 * max(1, abs(other)), "\(comment) \(index): \(one) \(other)")
      }
    }

    @Test func aCostIsReversed() throws {
      try withWorkFolder { folder in
        let model = fixture("rewards/beaver-cost")
        try sailDone(score(model, Self.rows, folder.file("plain.jsonl")))
        try sailDone(score(model, Self.rows, folder.file("cost.jsonl")) + ["--reverse"])
        let plain = try folder.lines("plain.jsonl").map { try $0.value("score") }
        #expect(try folder.lines("cost.jsonl").map { try $0.value("score") } == plain.map { -$0 })
      }
    }

    /// Where config.json does not say whether safe-rlhf's head has a bias, the weights do.
    @Test(arguments: ["beaver-reward", "beaver-cost"])
    func theWeightsSayWhetherThereIsABias(_ name: String) throws {
      try withWorkFolder { folder in
        try folder.copy(fixture("rewards/\(name)"), as: "model")
        let members = try fileJSON(folder.file("model/config.json")).members ?? []
        let kept = members.filter { !["score_bias", "bias"].contains($0.key) }
        #expect(kept.count == members.count - 1)
        try folder.write("model/config.json", JSON.object(kept).text)
        try sailDone(score(folder.file("model"), Self.rows, folder.file("out.jsonl")))
        try sailDone(score(fixture("rewards/\(name)"), Self.rows, folder.file("whole.jsonl")))
        #expect(try folder.bytes("out.jsonl") == folder.bytes("whole.jsonl"))
      }
    }

    @Test func theEndTokenIsPutOnce() throws {
      try withWorkFolder { folder in
        let model = fixture("rewards/beaver-reward")
        func scores(_ completion: String, _ more: [String]) throws -> [Double] {
          let row: JSON = ["prompt": "Say it ", "completion": .string(completion)]
          try folder.write("data.jsonl", row.text)
          try sailDone(
            score(model, folder.file("data.jsonl"), folder.file("out.jsonl")) + more)
          return try folder.lines("out.jsonl").map { try $0.value("score") }
        }
        let plain = try scores("again", [])
        let ended = try scores("again<|im_end|>", [])
        #expect(plain != ended)
        #expect(try scores("again", ["--end-token"]) == ended)
        #expect(try scores("again<|im_end|>", ["--end-token"]) == ended)
      }
    }

    @Test func metricsAreThoseOfTheScores() throws {
      try withWorkFolder { folder in
        let model = fixture("rewards/qwen2")
        let step = try fileJSON("\(model)/plain_step.json")
        let pairs = fixture("pairs.jsonl")
        let path = try folder.write(
          "run.yaml",
          """
          model: \(model)
          method: reward
          data: {train: \(pairs), eval: \(pairs), shuffle: false}
          batch: {pairs: 8, groups: 4}
          optimizer: {name: sgd, learning_rate: 0.07, clip: 0}
          steps: 1
          evaluate: {every: 1}
          samples: {every: 1, rows: all}
          output: \(folder.file("run"))
          """)
        try sailDone(["train", "--config", path])
        let expected = try step.list("rows").map { try $0.numbers("scores") }
        for (row, wanted) in zip(try folder.lines("run/samples.jsonl"), expected) {
          expectClose(try row.numbers("scores"), wanted)
        }
        let lines = try folder.lines("run/metrics.jsonl")
        try #require(lines.count == 2 && expected.count == 8)
        let all = expected.flatMap { $0 }
        func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
        for (key, value) in [
          ("accuracy", try step.value("accuracy")), ("min_reward", all.min() ?? 0),
          ("max_reward", all.max() ?? 0), ("mean_reward", mean(all)),
          ("rewards/chosen", mean(expected.map { $0[0] })),
          ("rewards/rejected", mean(expected.map { $0[1] })),
          ("margin", mean(expected.map { $0[0] - $0[1] })),
        ] {
          #expect(abs(try lines[0].value(key) - value) < 1e-5, "\(key)")
        }
        #expect(try lines[1].value("eval_loss") < lines[0].value("loss"))
        #expect(lines[1].has("eval_accuracy") && lines[1].has("eval_rewards/margins"))
      }
    }

    /// From a causal folder to a reward folder, and on from there.
    @Test func aCausalFolderBecomesARewardModel() throws {
      try withWorkFolder { folder in
        let source = fixture("gqa-tied")
        func run(_ name: String, _ model: String, _ settings: String) throws -> [JSON] {
          let path = try folder.write(
            "\(name).yaml",
            """
            model: \(model)
            method: reward
            data: {train: \(fixture("pairs.jsonl")), eval: \(fixture("pairs.jsonl"))}
            batch: {pairs: 8, groups: 4}
            evaluate: {every: 5}
            output: \(folder.file(name))
            \(settings)
            """)
          try sailDone(["train", "--config", path], .ranks(2))
          return try folder.lines("\(name)/metrics.jsonl")
        }
        // A rate of next to nothing: the body stays, the head is the drawn one.
        _ = try run("start", source, "steps: 1\noptimizer: {learning_rate: 1e-30}")
        let (start, causal) = (try Tensors(folder.file("start/model")), try Tensors(source))
        #expect(start.names == causal.names + ["score.weight"])
        let drawn = try #require(start.norms.last)
        // √32 numbers of deviation initializer_range 0.02 (0.2 in the fixture).
        let deviation = try fileJSON(source + "/config.json").value("initializer_range")
        #expect(abs(drawn / (32.0.squareRoot() * deviation) - 1) < 0.5)

        let lines = try run("trained", source, "steps: 40\noptimizer: {learning_rate: 2e-3}")
        let last = try #require(lines.last)
        #expect(try last.value("eval_accuracy") == 1)
        #expect(try last.value("eval_loss") < 0.1)
        let configuration = try fileJSON(folder.file("trained/model/config.json"))
        #expect(
          try configuration.list("architectures").map(\.string)
            == ["Qwen2ForSequenceClassification"])
        #expect(configuration["id2label"]?.members?.map(\.key) == ["0"])
        #expect(configuration["id2label"]?["0"]?.string == "LABEL_0")
        #expect(configuration["label2id"]?["LABEL_0"]?.integer == 0)
        #expect(configuration["pad_token_id"]?.integer == 377)

        // The exported model's accuracy is that of the run, up to the boundary of prompt and response.
        let model = folder.file("trained/model")
        try sailDone([
          "evaluate", "--model", model, "--data", fixture("pairs.jsonl"), "--end-token", "--out",
          folder.file("evaluation"),
        ])
        let figures = try fileJSON(folder.file("evaluation/metrics.json"))
        #expect(try figures["rewards/accuracies"]?.value("value") == 1)
        #expect(try figures["rewards/margins"]?.value("value") ?? 0 > 1)
        #expect(try folder.lines("evaluation/pairs.jsonl").count == 8)
        let export = try sailDone([
          "export", folder.file("trained/checkpoints/step-00000040"), "--out",
          folder.file("exported"), "--verify",
        ])
        #expect(export.output.contains("scores of 8 drawn sequences are equal in every bit"))
        #expect(
          try folder.bytes("exported/model.safetensors")
            == folder.bytes("trained/model/model.safetensors"))

        // It goes on where it stopped.
        let more = try run("more", model, "steps: 1\noptimizer: {learning_rate: 1e-30}")
        let (loss, before) = (try more[0].value("loss"), try last.value("eval_loss"))
        #expect(relativeDifference(loss, before) < 1e-5)
      }
    }

    @Test func aRewardModelIsAnOracle() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let limit = 40
        let model = fixture("rewards/llama")
        let settings = [
          "model=\(fixture("gqa-tied"))", "sail={dpr: {fraction: 1, response_coefficient: 0}}",
          "generation.max_new_tokens=\(limit)", "steps=2", "evaluate.every=1",
        ]
        func result(_ name: String, _ oracle: String, _ launch: Launch = .alone) throws -> RunResult
        {
          try run.result(name, settings + ["oracle={model: \(model)\(oracle)}"], launch)
        }
        let alone = try result("alone", "")
        let two = try result("two", "", .ranks(2))
        #expect(two == alone, "\(two.differences(from: alone))")
        let rows = try folder.lines("alone/samples.jsonl")
        let texts = try rows.flatMap { row in
          try row.list("completions").map { completion -> String in
            JSON.object([
              JSON.Member(key: "prompt", value: .string(try row.words("prompt"))),
              JSON.Member(key: "completion", value: completion),
            ]).text
          }
        }
        try folder.write("texts.jsonl", texts.joined(separator: "\n"))
        func scores(_ more: [String]) throws -> [Double] {
          try sailDone(
            score(model, folder.file("texts.jsonl"), folder.file("scores.jsonl")) + more)
          return try folder.lines("scores.jsonl").map { try $0.value("score") }
        }
        let found = try rows.flatMap { try $0.numbers("scores") }
        try #require(found.count == 64)
        expectClose(found, try scores([]), "oracle")
        for row in rows {
          let values = try row.numbers("scores")
          #expect(
            row["chosen"]?.integer == (values[0] == values[1] ? nil : values[0] > values[1] ? 0 : 1)
          )
        }
        // A cost: the other one is chosen; the end token makes another text of those that ended.
        _ = try result("cost", ", reverse: true, end_token: true")
        let costs = try folder.lines("cost/samples.jsonl").prefix(16)
        let ended = try scores(["--reverse", "--end-token"])
        let plain = try scores(["--reverse"])
        var index = 0
        for row in costs {
          for (value, finish) in zip(try row.numbers("scores"), try row.list("finish")) {
            let wanted = finish.string == "eos" ? ended[index] : plain[index]
            #expect(abs(value - wanted) <= 1e-5 * max(1, abs(wanted)))
            index += 1
          }
        }
      }
    }

    @Test func theRewardOfGenerationsIsReported() throws {
      try withWorkFolder { folder in
        let model = fixture("rewards/mistral")
        func evaluate(_ output: String, _ more: [String], _ launch: Launch = .alone) throws -> JSON
        {
          try sailDone(
            [
              "evaluate", "--model", fixture("gqa-tied"), "--data", fixture("pairs.jsonl"),
              "--max-new-tokens", "12", "--reward", model, "--out", folder.file(output),
            ] + more, launch)
          return try fileJSON(folder.file("\(output)/metrics.json"))
        }
        let figures = try evaluate("alone", [])
        let lines = try folder.lines("alone/pairs.jsonl")
        let expected = try fileJSON("\(model)/expected.json").list("rows")
        try #require(lines.count == 8)
        for (index, line) in lines.enumerated() {
          let wanted = try expected[2 * index].value("float64_score")
          #expect(abs(try line.value("chosen_reward") - wanted) < 1e-5 * max(1, abs(wanted)))
        }
        let rewards = try lines.map { try $0.value("reward") }
        let reward = try #require(figures["eval_reward"])
        #expect(abs(try reward.value("value") - rewards.reduce(0, +) / 8) < 1e-9)
        #expect(try reward.value("low") < reward.value("value"))
        // Where nobody else judges, the reward model does.
        #expect(try figures["objective/scores"]?.value("value") == reward.value("value"))
        #expect(figures["win_rate"] != nil)
        let both = try evaluate("both", ["--judge", "rule:shorter", "--reverse"], .ranks(2))
        #expect(try both["eval_reward"]?.value("value") == -reward.value("value"))
        #expect(
          try both["objective/scores"]?.value("value") != both["eval_reward"]?.value("value"))
        let judged = try evaluate("judge", ["--judge", "model:\(model)"])
        #expect(try judged["win_rate"]?.value("value") == figures["win_rate"]?.value("value"))
      }
    }
  }
}
