import JSONText
import Testing

extension EndToEndTests {
  /// The metrics of a first step against those that TRL's DPOTrainer logs for the same pairs and models
  /// (Tests/Fixtures/make_trl_values.py).
  @Suite struct TRL {
    private static let keys = [
      "loss", "grad_norm", "entropy", "logps/chosen", "logps/rejected", "logits/chosen",
      "logits/rejected", "rewards/chosen", "rewards/rejected", "rewards/margins",
      "rewards/accuracies",
    ]

    @Test(arguments: ["sigmoid", "hinge", "ipo", "cdpo"])
    func theNumbersAreTRLs(_ name: String) throws {
      try withWorkFolder { folder in
        let values = try fileJSON(fixture("trl_values.json"))
        let expected = try #require(values["cases"]?[name])
        let objective = try #require(expected["sail"]?.members).map {
          "\($0.key): \($0.value.string ?? $0.value.text)"
        }
        let path = try folder.write(
          "run.yaml",
          """
          model: \(fixture(try values.words("model")))
          reference: \(fixture(try values.words("reference")))
          method: dpo
          objective: {beta: \(try values.value("beta")), \(objective.joined(separator: ", "))}
          data: {train: \(fixture(try values.words("pairs"))), shuffle: false}
          batch: {pairs: 8, groups: 4}
          optimizer: {name: sgd, learning_rate: 0, clip: 0}
          steps: 1
          output: \(folder.file("run"))
          """)
        try sailDone(["train", "--config", path])
        let line = try #require(try folder.lines("run/metrics.jsonl").first)
        for key in Self.keys {
          let (found, wanted) = (try line.value(key), try expected.value(key))
          #expect(relativeDifference(found, wanted) <= 1e-4, "\(key): \(found), TRL \(wanted)")
        }
      }
    }
  }
}
