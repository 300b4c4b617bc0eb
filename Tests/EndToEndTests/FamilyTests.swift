import JSONText
import Testing

extension EndToEndTests {
  /// Decoder families beside Qwen2; their `score` and greedy `generate` are tested with all others.
  @Suite struct Families {
    @Test(arguments: familyFolders)
    func oneStepIsTorchs(_ model: String) throws {
      try withWorkFolder { folder in
        let step = try fileJSON(fixture("\(model)/dpo_step.json"))
        let rate = try #require(step["optimizer"]).value("learning_rate")
        try folder.write(
          "run.yaml",
          """
          model: \(fixture(model))
          reference: \(fixture(try step.words("reference")))
          method: dpo
          data: {train: \(fixture("pairs.jsonl")), shuffle: false}
          batch: {pairs: 8, groups: 4}
          optimizer: {name: sgd, learning_rate: \(rate), clip: 0}
          steps: 1
          output: run
          """)
        try sailDone(
          ["train", "--config", "run.yaml"], Launch(ranks: 2, folder: folder.path))
        let start = try Tensors(fixture("\(model)/model.safetensors"))
        let update = try Tensors(folder.file("run/model")).minus(start)
        try expectUpdate(update, try Tensors(fixture("\(model)/dpo_step.safetensors")), model)
        let line = try #require(try folder.lines("run/metrics.jsonl").first)
        for key in ["loss", "grad_norm"] {
          #expect(relativeDifference(try line.value(key), try step.value(key)) <= 1e-4, "\(key)")
        }
        // Nothing of the folder is lost but what Sail writes itself.
        for name in ["config.json", "tokenizer.json", "generation_config.json"] {
          #expect(
            try folder.bytes("run/model/\(name)") == fileBytes(fixture("\(model)/\(name)")))
        }
      }
    }

    /// The long factors depend on the whole sequence, so such rows are refused, not computed wrongly.
    @Test func rowsBeyondTheOriginalLengthOfLongropeAreRefused() throws {
      try withWorkFolder { folder in
        try folder.copy(fixture("families/phi3-longrope"), as: "model")
        let members = try fileJSON(folder.file("model/config.json")).members ?? []
        let changed = members.map {
          $0.key == "original_max_position_embeddings" ? JSON.Member(key: $0.key, value: 64) : $0
        }
        try folder.write("model/config.json", JSON.object(changed).text)
        let job = try sail(
          ["score", "--model", "model", "--data", fixture("long.jsonl"), "--out", "out.jsonl"],
          Launch(folder: folder.path))
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.complaints.count == 1)
        #expect(job.complaints.first?.contains("longrope") == true, "\(job.errors)")
        #expect(job.complaints.first?.contains("64") == true, "\(job.errors)")
        #expect(!folder.exists("out.jsonl"))
      }
    }
  }
}
