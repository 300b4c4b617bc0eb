import JSONText
import Testing

extension EndToEndTests {
  /// Low-rank adapters against peft and torch.
  @Suite struct Adapters {
    private static let names = ["llama-all", "qwen2-some", "phi3-fused"]

    /// The folder of the reference values, from which the adapters name their bases.
    private func launch(ranks: Int? = nil) -> Launch { Launch(ranks: ranks, folder: fixture("")) }

    @Test(arguments: names)
    func logProbabilitiesArePEFTs(_ name: String) throws {
      try withWorkFolder { folder in
        let expected = try fileJSON(fixture("adapters/\(name)/expected.json"))
        let base = try expected.words("reference")
        let arguments = ["score", "--model", "adapters/\(name)", "--data", "pairs.jsonl"]
        try sailDone(arguments + ["--out", folder.file("plain.jsonl")], launch())
        try expectScores(
          try folder.lines("plain.jsonl"), try expected.list("pairs"), hasReference: false)
        // The base by name, as the reference too.
        let withReference =
          [
            "score", "--model", fixture("adapters/\(name)"), "--base", fixture(base),
            "--reference", fixture(base), "--data", fixture("pairs.jsonl"), "--out",
          ]
        try sailDone(withReference + [folder.file("alone.jsonl")])
        try expectScores(
          try folder.lines("alone.jsonl"), try expected.list("pairs"), hasReference: true)
        try sailDone(withReference + [folder.file("three.jsonl")], .ranks(3))
        #expect(try folder.bytes("three.jsonl") == folder.bytes("alone.jsonl"))
      }
    }

    @Test(arguments: names)
    func greedyTokensArePEFTs(_ name: String) throws {
      try withWorkFolder { folder in
        let greedy = try fileJSON(fixture("adapters/\(name)/expected.json")).list("greedy")
        try sailDone(
          [
            "generate", "--model", "adapters/\(name)", "--data",
            try folder.writePrompts(of: greedy), "--out", folder.file("out.jsonl"),
            "--temperature", "0", "--max-new-tokens", "24",
          ], launch())
        try expectGreedy(try folder.lines("out.jsonl"), greedy)
      }
    }

    /// Against the base (the adapter switched off), and against the adapter as it was.
    @Test(arguments: names, ["off", "frozen"])
    func oneStepIsTorchs(_ name: String, _ reference: String) throws {
      try withWorkFolder { folder in
        let adapter = "adapters/\(name)"
        let step = try fileJSON(fixture("\(adapter)/\(reference)_step.json"))
        let rate = try #require(step["optimizer"]).value("learning_rate")
        let config = try folder.write(
          "run.yaml",
          """
          model: \(adapter)
          \(reference == "off" ? "reference: \(try step.words("base"))" : "")
          method: dpo
          data: {train: pairs.jsonl, shuffle: false}
          adapter: {dropout: 0}
          batch: {pairs: 8, groups: 4}
          optimizer: {name: sgd, learning_rate: \(rate), clip: 0}
          steps: 1
          output: \(folder.file("run"))
          """)
        try sailDone(["train", "--config", config], launch(ranks: 2))
        let file = "adapter_model.safetensors"
        let after = try Tensors(folder.file("run/model/\(file)"))
        let update = try after.minus(Tensors(fixture("\(adapter)/\(file)")))
        let expected = try Tensors(fixture("\(adapter)/\(reference)_step.safetensors"))
        try expectUpdate(update, expected, name)
        let line = try #require(try folder.lines("run/metrics.jsonl").first)
        for key in ["loss", "grad_norm"] {
          #expect(relativeDifference(try line.value(key), try step.value(key)) <= 1e-4, "\(key)")
        }
        let settings = try fileJSON(folder.file("run/model/adapter_config.json"))
        let before = try fileJSON(fixture("\(adapter)/adapter_config.json"))
        for key in ["peft_type", "r", "lora_alpha", "use_rslora"] {
          #expect(settings[key]?.text == before[key]?.text, "\(key)")
        }
        // Wherever the adapter is taken to.
        #expect(
          try settings.words("base_model_name_or_path") == fixture(try step.words("base")))
        #expect(!folder.exists("run/model/model.safetensors"))
      }
    }

    @Test(arguments: names)
    func mergedWeightsArePEFTs(_ name: String) throws {
      try withWorkFolder { folder in
        let expected = try fileJSON(fixture("adapters/\(name)/expected.json"))
        try sailDone(
          ["export", "adapters/\(name)", "--out", folder.file("merged"), "--merge"], launch())
        let base = fixture("\(try expected.words("reference"))/model.safetensors")
        #expect(try Tensors(folder.file("merged")).names == Tensors(base).names)
        try sailDone([
          "score", "--model", folder.file("merged"), "--data", fixture("pairs.jsonl"), "--out",
          folder.file("out.jsonl"),
        ])
        try expectScores(
          try folder.lines("out.jsonl"), try expected.list("pairs"), hasReference: false,
          key: "merged_")
      }
    }

    @Test func anAdapterOfAnotherBaseIsRefused() throws {
      try withWorkFolder { folder in
        let job = try sail([
          "score", "--model", fixture("adapters/qwen2-some"), "--base", fixture("families/llama"),
          "--data", fixture("pairs.jsonl"), "--out", folder.file("out.jsonl"),
        ])
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.complaints.count == 1)
        let sentence = try #require(job.complaints.first)
        for part in ["qwen2-some", "q_proj", "[4, 32]", "[4, 12]"] {
          #expect(sentence.contains(part), "\(sentence)")
        }
        #expect(!folder.exists("out.jsonl"))
      }
    }
  }
}
