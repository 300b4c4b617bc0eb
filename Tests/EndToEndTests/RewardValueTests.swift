import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// `sail reward` and `method: reward` against transformers and torch.
  @Suite struct RewardValues {
    private static let names = [
      "qwen2", "llama", "mistral", "beaver-reward", "beaver-cost", "eurus",
    ]

    @Test(arguments: names)
    func scoresAreTransformers(_ name: String) throws {
      try withWorkFolder { folder in
        let expected = try fileJSON(fixture("rewards/\(name)/expected.json")).list("rows")
        let arguments = [
          "reward", "--model", fixture("rewards/\(name)"), "--data",
          fixture("rewards/rows.jsonl"), "--out",
        ]
        try sailDone(arguments + [folder.file("alone.jsonl")])
        let lines = try folder.lines("alone.jsonl")
        try #require(lines.count == expected.count)
        for (index, (line, row)) in zip(lines, expected).enumerated() {
          let (found, wanted) = (try line.value("score"), try row.value("score"))
          // The size of a score is about 1, whatever the text.
          #expect(abs(found - wanted) < 1e-5, "row \(index): \(found) \(wanted)")
        }
        try sailDone(arguments + [folder.file("three.jsonl")], .ranks(3))
        #expect(try folder.bytes("three.jsonl") == folder.bytes("alone.jsonl"))
      }
    }

    @Test(arguments: ["plain", "margin"])
    func oneStepIsTorchs(_ name: String) throws {
      try withWorkFolder { folder in
        let model = "rewards/qwen2"
        let step = try fileJSON(fixture("\(model)/\(name)_step.json"))
        let rate = try #require(step["optimizer"]).value("learning_rate")
        let data = name == "plain" ? "pairs.jsonl" : "rewards/margins.jsonl"
        try folder.write(
          "run.yaml",
          """
          model: \(fixture(model))
          method: reward
          data: {train: \(fixture(data)), shuffle: false}
          batch: {pairs: 8, groups: 4}
          optimizer: {name: sgd, learning_rate: \(rate), clip: 0}
          steps: 1
          output: run
          """)
        try sailDone(
          ["train", "--config", "run.yaml"], Launch(ranks: 2, folder: folder.path))
        let update = try Tensors(folder.file("run/model")).minus(
          Tensors(fixture("\(model)/model.safetensors")))
        let expected = try Tensors(fixture("\(model)/\(name)_step.safetensors"))
        try expectUpdate(update, expected, name)
        let line = try #require(try folder.lines("run/metrics.jsonl").first)
        for key in ["loss", "grad_norm"] {
          #expect(relativeDifference(try line.value(key), try step.value(key)) <= 1e-4, "\(key)")
        }
        #expect(try line.value("rewards/accuracies") == step.value("accuracy"))
        // What was trained is a reward model again.
        try sailDone([
          "reward", "--model", folder.file("run/model"), "--data", fixture("rewards/rows.jsonl"),
          "--out", folder.file("out.jsonl"),
        ])
      }
    }

    @Test(arguments: [
      ("a head of the wrong size", "rewards/qwen2", "\"hidden_size\": 16", "\"hidden_size\": 32"),
      (
        "a head of two values", "rewards/beaver-reward", "\"score_dim\": 1", "\"score_dim\": 2"
      ),
      ("a model without a head", "gqa-tied", "", ""),
    ])
    func whatIsNoRewardModelIsRefused(
      _ what: String, _ model: String, _ found: String, _ replacement: String
    ) throws {
      try withWorkFolder { folder in
        try folder.copy(fixture(model), as: "model")
        let path = folder.file("model/config.json")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try folder.write(
          "model/config.json", text.replacingOccurrences(of: found, with: replacement))
        let job = try sail(
          [
            "reward", "--model", "model", "--data", fixture("rewards/rows.jsonl"), "--out",
            "out.jsonl",
          ], Launch(folder: folder.path))
        #expect(job.code == 3, "\(what): \(job.errors)")
        #expect(job.complaints.count == 1, "\(what): \(job.errors)")
        #expect(!folder.exists("out.jsonl"))
      }
    }
  }
}
