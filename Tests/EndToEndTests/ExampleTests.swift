import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// Each run file in examples/ trains; `scripts/examples.sh` runs them whole.
  @Suite struct Examples {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("examples")
      .path

    @Test func everyFileTrains() throws {
      let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder)
        .filter { $0.hasSuffix(".yaml") }.sorted()
      #expect(names.count >= 14)
      try withWorkFolder { folder in
        // Its data and model, two steps of eight rows.
        _ = try MixedRun(folder)
        let data = folder.file("data")
        for name in names {
          let output = folder.file("out-\(name)")
          var settings = [
            "model={config: \(data)/model/config.json, tokenizer: \(data)/model, seed: 1}",
            "data.train=\(data)/\(name == "sft.yaml" ? "sft" : "train").jsonl", "steps=2",
            "batch={pairs: 8, groups: 2}", "optimizer.warmup_steps=0", "output=\(output)",
          ]
          if name != "sft.yaml" {
            settings += [
              "data.eval=\(data)/eval.jsonl", "generation.max_new_tokens=8",
              "evaluate={every: 2, pairs: 8, generations: 4}",
            ]
          }
          try sailDone(
            ["train", "--config", "\(Self.folder)/\(name)"] + settings.flatMap { ["--set", $0] })
          let lines = try fileLines(output + "/metrics.jsonl")
          #expect(
            try lines.filter { $0.has("grad_norm") }.allSatisfy {
              try $0.value("loss").isFinite && $0.value("grad_norm").isFinite
            }, "\(name)")
          #expect(lines.contains { $0.has("eval_loss") } == (name != "sft.yaml"), "\(name)")
        }
      }
    }
  }
}
