import Testing

extension EndToEndTests {
  /// What a run must not let pass: changed inputs, broken checkpoints, sizes that cannot be.
  @Suite struct Safety {
    @Test func otherDataUnderTheSameNameIsRefused() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("out", ["steps=2"]))
        var rows = try folder.bytes("data/train.jsonl")
        let place = try #require(rows.firstIndex(of: UInt8(ascii: "e")))
        rows[place] = UInt8(ascii: "E")
        try folder.write("data/train.jsonl", bytes: rows)
        let job = try sail(run.arguments("out", ["steps=4"], resume: "auto"), .ranks(2))
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.complaints.count == 1, "\(job.errors)")
        #expect(job.complaints.first?.contains("train.jsonl has changed") == true)
      }
    }

    @Test func nothingStartsAnewOverBrokenCheckpoints() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("out", ["steps=2"]))
        try folder.remove("out/checkpoints/step-00000002/MANIFEST")
        let model = try folder.bytes("out/model/model.safetensors")
        let job = try sail(run.arguments("out", ["steps=2"], resume: "auto"))
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.complaints.first?.contains("none is whole") == true, "\(job.errors)")
        #expect(try folder.bytes("out/model/model.safetensors") == model)
      }
    }

    @Test(arguments: [
      (["--max-new-tokens", "9223372036854775807"], "--max-new-tokens must be at most"),
      (["--samples", "1000000000"], "--samples must be at most"),
      (["--threads", "100000"], "threads must be at most"),
    ])
    func sizesBeyondReasonAreRefused(_ arguments: [String], _ part: String) throws {
      try withWorkFolder { folder in
        try folder.write("p.jsonl", "{\"prompt\": \"a\"}\n")
        let job = try sail(
          [
            "generate", "--model", fixture("gqa-tied"), "--data", folder.file("p.jsonl"), "--out",
            folder.file("o.jsonl"),
          ] + arguments)
        #expect(job.code == 2, "\(job.errors)")
        #expect(job.complaints.first?.contains(part) == true, "\(job.errors)")
      }
    }

    @Test func aModelThatCannotFitIsRefused() throws {
      try withWorkFolder { folder in
        try folder.write(
          "config.json",
          """
          {"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 8192, "num_hidden_layers": 400,
           "intermediate_size": 49152, "num_attention_heads": 64}
          """)
        let run = try ShortRun(folder)
        let model = "{config: \(folder.file("config.json")), tokenizer: \(fixture("gqa-tied"))}"
        let job = try sail(run.arguments(["model=\(model)"]))
        #expect(job.code == 2, "\(job.errors)")
        #expect(job.complaints.first?.contains("of memory") == true, "\(job.errors)")
      }
    }
  }
}
