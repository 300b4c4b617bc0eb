import JSONText
import Testing

/// Decoders of every family, under Tests/Fixtures/models.
let familyFolders = [
  "llama", "llama3", "llama-linear", "llama-biases", "llama-tied", "mistral", "mistral-window",
  "phi3", "phi3-longrope", "phi3-partial", "qwen3", "qwen3-biases", "qwen2-window",
].map { "families/\($0)" }
let modelFolders =
  ["gqa-tied", "mha-untied-sharded", "mqa-tied-bf16", "gqa-untied-f16"] + familyFolders

extension EndToEndTests {
  /// `sail score` against transformers.
  @Suite struct Score {
    @Test(arguments: modelFolders)
    func logProbabilitiesAreTransformers(_ model: String) throws {
      try withWorkFolder { folder in
        let expected = try fileJSON(fixture("\(model)/expected.json"))
        let reference = try expected.words("reference")
        let arguments = [
          "score", "--model", fixture(model), "--data", fixture("pairs.jsonl"),
        ]
        try sailDone(arguments + ["--out", folder.file("plain.jsonl")])
        try expectScores(
          try folder.lines("plain.jsonl"), try expected.list("pairs"), hasReference: false)

        let withReference = arguments + ["--reference", fixture(reference)]
        try sailDone(withReference + ["--out", folder.file("alone.jsonl")])
        try expectScores(
          try folder.lines("alone.jsonl"), try expected.list("pairs"), hasReference: true)
        try sailDone(withReference + ["--out", folder.file("three.jsonl")], .ranks(3))
        #expect(try folder.bytes("three.jsonl") == folder.bytes("alone.jsonl"))
      }
    }

    /// Rows of several attention tiles, many times longer than the windows.
    @Test(
      arguments: ["mha-untied-sharded"]
        + ["llama3", "mistral-window", "phi3-longrope", "qwen2-window"].map { "families/\($0)" })
    func longRowsAreTransformers(_ model: String) throws {
      try withWorkFolder { folder in
        let expected = try fileJSON(fixture("\(model)/expected.json"))
        try sailDone([
          "score", "--model", fixture(model), "--data", fixture("long.jsonl"), "--reference",
          fixture(try expected.words("reference")), "--out", folder.file("long.jsonl"),
        ])
        try expectScores(
          try folder.lines("long.jsonl"), try expected.list("long"), hasReference: true)
      }
    }

    /// More rows than one batch, so that three ranks all have work.
    @Test func manyRowsAreTheSameOnThreeRanks() throws {
      try withWorkFolder { folder in
        let pairs = try fileBytes(fixture("pairs.jsonl"))
        let data = try folder.write(
          "data.jsonl", bytes: Array(repeatElement(pairs, count: 5).joined()))
        let arguments = ["score", "--model", fixture("gqa-tied"), "--data", data, "--out"]
        try sailDone(arguments + [folder.file("alone.jsonl")])
        try sailDone(arguments + [folder.file("three.jsonl")], .ranks(3))
        #expect(try folder.lines("alone.jsonl").count == 40)
        #expect(try folder.bytes("three.jsonl") == folder.bytes("alone.jsonl"))
      }
    }

    @Test func aReferenceWithAnotherVocabularyIsRefused() throws {
      try withWorkFolder { folder in
        try sailDone([
          "synthesize", "--out", folder.file("data"), "--supervised", "200", "--pairs", "8",
          "--evaluation-pairs", "8", "--hidden", "64",
        ])
        try folder.write(
          "run.yaml",
          """
          model: {config: data/model/config.json, tokenizer: data/model, seed: 1}
          method: sft
          data: {train: data/sft.jsonl}
          batch: {pairs: 2, groups: 1}
          steps: 1
          output: out
          """)
        try sailDone(["train", "--config", "run.yaml"], Launch(folder: folder.path))
        for command in ["score", "evaluate"] {
          let job = try sail(
            [
              command, "--model", "out/model", "--reference", fixture("gqa-tied"), "--data",
              "data/eval.jsonl", "--out", "\(command)-out",
            ], Launch(folder: folder.path))
          #expect(job.code == 3)
          #expect(job.complaints.count == 1)
          #expect(job.complaints.first?.contains("vocab_size of 384") == true, "\(job.errors)")
          #expect(!folder.exists("\(command)-out"))
        }
      }
    }
  }
}

/// Lines of `sail score` against the values of an `expected.json`.
///
/// The difference is that of f32 forwards of two programs and a sum of up to 257 terms.
func expectScores(
  _ lines: [JSON], _ expected: [JSON], hasReference: Bool, key prefix: String = ""
) throws {
  try #require(lines.count == expected.count)
  for (row, pair) in zip(lines, expected) {
    for side in ["chosen", "rejected"] {
      let count = "\(side)_tokens"
      #expect(try row.value(count) == pair.value(count))
      let pairs =
        [("logps/\(side)", "\(prefix)logps/\(side)")]
        + (hasReference ? [("ref_logps/\(side)", "ref_logps/\(side)")] : [])
      for (key, expectedKey) in pairs {
        let (found, wanted) = (try row.value(key), try pair.value(expectedKey))
        #expect(relativeDifference(found, wanted) < 2e-5, "\(key) \(found) \(wanted)")
      }
    }
    #expect((row["ref_logps/chosen"] != nil) == hasReference)
  }
}
