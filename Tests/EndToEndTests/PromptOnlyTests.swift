import JSONText
import Testing

extension EndToEndTests {
  /// Training on lines that have only a prompt, as OAIF does.
  @Suite struct PromptOnly {
    /// A run whose training lines have lost their responses, evaluation from a part of them.
    private func settings(_ folder: WorkFolder, _ sail: String) throws -> [String] {
      let lines = try folder.lines("data/train.jsonl")
      try folder.write("prompts.jsonl", try lines.map(prompt).joined())
      return [
        "data={train: \(folder.file("prompts.jsonl")), eval_fraction: 0.1}", "sail={\(sail)}",
        "steps=3", "evaluate.every=3",
      ]
    }

    private func prompt(_ line: JSON) throws -> String {
      let only: JSON = ["prompt": .string(try line.words("prompt"))]
      return only.text + "\n"
    }

    @Test(arguments: [
      "dpr: {fraction: 1, response_coefficient: 0}",
      "dpr: {fraction: 0.6}, dpp: {fraction: 0.4, labels: sample}",
    ])
    func promptsAreEnough(_ routes: String) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = try settings(folder, routes)
        let alone = try run.result("alone", settings)
        let two = try run.result("two", settings, .ranks(2))
        #expect(two == alone, "\(two.differences(from: alone))")

        let rows = try folder.lines("alone/samples.jsonl")
        try #require(rows.count == 48)
        for row in rows {
          #expect(["dpr", "dpp"].contains(row["route"]?.string))
          #expect(row["kept"]?.boolean == true)
          #expect(try row.list("completions").count == 2)
          #expect(try row.list("token_ids").allSatisfy { $0.elements?.isEmpty == false })
        }
        let lines = try folder.lines("alone/metrics.jsonl")
        let training = lines.filter { $0["loss"] != nil }
        try #require(training.count == 3)
        for line in training {
          #expect(try line.value("loss") > 0 && line.value("grad_norm") > 0)
          #expect(try line.value("sail/offline/fraction") == 0 && line.value("sail/dropped") == 0)
        }
        let evaluation = try #require(lines.first { $0["eval_objective/scores"] != nil })
        #expect(try evaluation.value("eval_objective/kl").isFinite)
        for key in ["eval_loss", "eval_rewards/accuracies", "eval_win_rate"] {
          #expect(evaluation[key] == nil, "\(key)")
        }
      }
    }

    /// Responses in the data are no concern of training, and evaluation uses those that there are.
    @Test func evaluationTakesThePairsThatThereAre() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = try settings(folder, "dpr: {fraction: 1, response_coefficient: 0}")
        let prompts = try run.result("prompts", settings)
        let pairs = try run.result(
          "pairs", settings + ["data.train=\(folder.file("data/train.jsonl"))"])
        #expect(pairs.weights == prompts.weights && pairs.samples == prompts.samples)
        let first = try evaluation(folder, "prompts")
        let second = try evaluation(folder, "pairs")
        #expect(
          try first.value("eval_objective/scores") == second.value("eval_objective/scores"))
        #expect(try second.value("eval_rewards/accuracies") >= 0)
        #expect(try second.value("eval_win_rate") >= 0)

        // A file of both kinds of lines.
        var lines = try folder.lines("data/eval.jsonl").map { $0.text + "\n" }
        for index in stride(from: 0, to: lines.count, by: 2) {
          lines[index] = try prompt(try JSON(parsing: Array(lines[index].utf8)))
        }
        let mixed = try folder.write("mixed.jsonl", lines.joined())
        try sailDone(
          run.arguments("mixed", settings + ["data.eval_fraction=0", "data.eval=\(mixed)"]))
        let third = try evaluation(folder, "mixed")
        #expect(try third.value("eval_loss") > 0 && third.value("eval_win_rate") >= 0)
      }
    }

    private func evaluation(_ folder: WorkFolder, _ output: String) throws -> JSON {
      try #require(
        try folder.lines("\(output)/metrics.jsonl").first { $0["eval_objective/scores"] != nil })
    }

    @Test(arguments: [
      (["sail={dpr: {fraction: 0.9}}"]), (["sail={dpr: {fraction: 0.5}, ddp: {fraction: 0.5}}"]),
      (["sail=", "method=dpo"]),
    ])
    func otherwiseAPromptIsNotEnough(_ settings: [String]) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let data = try self.settings(folder, "")
        let job = try sail(run.arguments("out", data + settings))
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.complaints.count == 1)
        for part in ["prompts.jsonl:1: the key \"chosen\" is missing", "fractions", "sum to 1"] {
          #expect(job.complaints.first?.contains(part) == true, "\(job.errors)")
        }
      }
    }
  }
}
