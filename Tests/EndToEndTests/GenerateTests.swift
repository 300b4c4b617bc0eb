import JSONText
import Testing

extension EndToEndTests {
  /// `sail generate` against transformers, and against itself.
  @Suite struct Generate {
    @Test(arguments: modelFolders)
    func greedyTokensAreTransformers(_ model: String) throws {
      try withWorkFolder { folder in
        let greedy = try fileJSON(fixture("\(model)/expected.json")).list("greedy")
        let data = try folder.writePrompts(of: greedy)
        try sailDone([
          "generate", "--model", fixture(model), "--data", data, "--out",
          folder.file("out.jsonl"), "--temperature", "0", "--max-new-tokens", "24",
        ])
        try expectGreedy(try folder.lines("out.jsonl"), greedy)
      }
    }

    @Test(arguments: [[], ["--temperature", "0.7", "--top-p", "0.9", "--top-k", "20"]])
    func sampledTokensAreTheSameOnThreeRanks(_ sampling: [String]) throws {
      try withWorkFolder { folder in
        let pairs = try fileBytes(fixture("pairs.jsonl"))
        let data = try folder.write(
          "data.jsonl", bytes: Array(repeatElement(pairs, count: 6).joined()))
        func generate(_ name: String, _ launch: Launch, seed: Int = 5) throws -> [UInt8] {
          try sailDone(
            [
              "generate", "--model", fixture("gqa-tied"), "--data", data, "--samples", "3",
              "--max-new-tokens", "12", "--seed", "\(seed)", "--out", folder.file(name),
            ] + sampling, launch)
          return try folder.bytes(name)
        }
        let alone = try generate("alone.jsonl", .alone)
        #expect(try generate("three.jsonl", .ranks(3)) == alone)
        #expect(try generate("seed.jsonl", .alone, seed: 6) != alone)
        let lines = try folder.lines("alone.jsonl")
        #expect(lines.count == 48)
        // The same prompt in another row has draws of its own.
        #expect(lines[0]["token_ids"]?.text != lines[8]["token_ids"]?.text)
        for line in lines {
          let tokens = try line.list("token_ids").compactMap(\.elements)
          #expect(tokens.count == 3)
          #expect(tokens.allSatisfy { (1...12).contains($0.count) })
          #expect(try line.list("logps").allSatisfy { ($0.number ?? 1) < 0 })
        }
      }
    }

    /// A completion whose text has the same tokens again gets the same log-probability by `score`.
    @Test func sampledLogProbabilitiesAreThoseOfScore() throws {
      try withWorkFolder { folder in
        let model = fixture("mha-untied-sharded")
        try sailDone([
          "generate", "--model", model, "--data", fixture("pairs.jsonl"), "--samples", "60",
          "--max-new-tokens", "4", "--out", folder.file("out.jsonl"),
        ])
        var pairs: [(text: String, logp: Double, count: Int)] = []
        for line in try folder.lines("out.jsonl") {
          let prompt = try line.words("prompt")
          let ends = try line.list("finish").map { $0.string == "eos" }
          for (index, completion) in try line.list("completions").enumerated()
          where ends[index] && completion.string?.isEmpty == false {
            let text: JSON = [
              "prompt": .string(prompt), "chosen": completion, "rejected": "x",
            ]
            let logp = try #require(try line.list("logps")[index].number)
            let count = try line.list("token_ids")[index].elements?.count ?? 0
            pairs.append((text.text, logp, count))
          }
        }
        let data = try folder.write("pairs.jsonl", pairs.map { $0.text + "\n" }.joined())
        try sailDone([
          "score", "--model", model, "--data", data, "--out", folder.file("scores.jsonl"),
        ])
        var comparedCount = 0
        for (pair, score) in zip(pairs, try folder.lines("scores.jsonl"))
        where try score.value("chosen_tokens") == Double(pair.count) && !pair.text.contains("�") {
          comparedCount += 1
          #expect(relativeDifference(pair.logp, try score.value("logps/chosen")) < 2e-5)
        }
        #expect(comparedCount >= 2)
      }
    }
  }
}

extension WorkFolder {
  /// Writes the prompts of greedy rows of an `expected.json` and answers the file's path.
  func writePrompts(of greedy: [JSON]) throws -> String {
    let lines = try greedy.map { row -> String in
      let prompt: JSON = ["prompt": .string(try row.words("prompt"))]
      return prompt.text + "\n"
    }
    return try write("prompts.jsonl", lines.joined())
  }
}

/// Lines of greedy `sail generate` against the values of an `expected.json`.
func expectGreedy(_ lines: [JSON], _ greedy: [JSON]) throws {
  try #require(lines.count == greedy.count)
  for (line, expected) in zip(lines, greedy) {
    #expect(try line.words("prompt") == expected.words("prompt"))
    let tokens = try line.list("token_ids").map { $0.elements?.map(\.integer) }
    #expect(tokens == [try expected.list("token_ids").map(\.integer)])
    #expect(try line.list("completions").map(\.string) == [try expected.words("completion")])
    #expect(try line.list("finish").map(\.string) == [try expected.words("finish")])
    let found = try #require(try line.list("logps").first?.number)
    #expect(relativeDifference(found, try expected.value("logps")) < 2e-5)
  }
}
