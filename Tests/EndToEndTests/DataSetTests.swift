import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// Data sets in the forms that people have them in, and the cache of their tokens.
  @Suite struct DataSets {
    private func conversation(_ question: String, _ answer: String) -> JSON {
      [
        ["role": "user", "content": .string(question)],
        ["role": "assistant", "content": .string(answer)],
      ]
    }

    /// One row of meaning in every form that has pairs.
    private func forms() -> [(name: String, line: JSON)] {
      let answers: [JSON] = [
        ["response": "no", "overall_score": 2], ["response": "yes, it is", "overall_score": 8.5],
        ["response": "maybe", "overall_score": 5],
      ]
      return [
        ("preference", ["prompt": "Is it?", "chosen": "yes, it is", "rejected": "no"]),
        (
          "pku",
          [
            "prompt": "Is it?", "response_0": "no", "response_1": "yes, it is",
            "better_response_id": 1, "safer_response_id": 0, "is_response_0_safe": true,
          ]
        ),
        ("ultrafeedback", ["instruction": "Is it?", "completions": .array(answers)]),
        (
          "conversation",
          [
            "chosen": conversation("Is it?", "yes, it is"),
            "rejected": conversation("Is it?", "no"),
          ]
        ),
      ]
    }

    @Test func formsOfOneMeaningScoreAlike() throws {
      try withWorkFolder { folder in
        var expected: [UInt8] = []
        for (name, line) in forms() {
          let file = try folder.write("\(name).jsonl", line.text + "\n")
          // A conversation of one turn has the same text without a template.
          for ranks in [nil, 3] {
            try sailDone(
              [
                "score", "--model", fixture("gqa-tied"), "--data", file, "--template", "plain",
                "--out", folder.file("out.jsonl"),
              ], Launch(ranks: ranks))
            let found = try folder.bytes("out.jsonl")
            if expected.isEmpty { expected = found }
            #expect(found == expected, "\(name)")
          }
        }
        #expect(!expected.isEmpty)
      }
    }

    /// A template's text has its own ending: these tokens, and no end token behind them.
    @Test func conversationsAreScoredWithTheModelsTemplate() throws {
      try withWorkFolder { folder in
        let cases = try fileJSON(fixture("../data/trl.json")).list("rendered")
          .filter { $0["texts"]?["chosen"] != nil }
        try folder.write("rows.jsonl", try cases.map { try row($0).text + "\n" }.joined())
        try sailDone([
          "score", "--model", fixture("gqa-tied"), "--data", folder.file("rows.jsonl"), "--out",
          folder.file("out.jsonl"),
        ])
        let lines = try folder.lines("out.jsonl")
        try #require(lines.count == 5 && cases.count == 5)
        for (line, item) in zip(lines, cases) {
          for key in ["chosen", "rejected"] {
            #expect(line["\(key)_tokens"]?.integer == item["ids"]?[key]?.elements?.count)
            #expect(try line.value("logps/\(key)") < 0)
          }
        }
      }
    }

    private func row(_ item: JSON) throws -> JSON {
      guard let row = item["row"] else { throw JobError(description: "no row") }
      return row
    }

    @Test func promptsStayAsTheyAreGiven() throws {
      try withWorkFolder { folder in
        let prompt: JSON = [["role": "user", "content": "Where?"]]
        try folder.write(
          "prompts.jsonl", JSON.object([.init(key: "prompt", value: prompt)]).text)
        try sailDone([
          "generate", "--model", fixture("gqa-tied"), "--data", folder.file("prompts.jsonl"),
          "--out", folder.file("out.jsonl"), "--max-new-tokens", "3",
        ])
        #expect(try folder.lines("out.jsonl")[0]["prompt"]?.text == prompt.text)
      }
    }

    @Test func benchmarksHaveAccuraciesBySubset() throws {
      try withWorkFolder { folder in
        let rows = ["donotanswer", "mine", "mine"].enumerated().map { index, subset -> String in
          let row: JSON = [
            "prompt": .string("Question \(index)"), "chosen": "good", "rejected": "worse",
            "subset": .string(subset), "chosen_model": "x", "id": .integer(Int64(index)),
          ]
          return row.text + "\n"
        }
        try folder.write("rows.jsonl", rows.joined())
        try sailDone([
          "evaluate", "--model", fixture("gqa-tied"), "--reference", fixture("gqa-untied-f16"),
          "--data", folder.file("rows.jsonl"), "--out", folder.file("out"), "--max-new-tokens", "2",
        ])
        let report = try fileJSON(folder.file("out/metrics.json"))
        let names = (report.members ?? []).map(\.key).filter { $0.hasPrefix("accuracy/") }
        #expect(names == ["accuracy/donotanswer", "accuracy/mine", "accuracy/section/safety"])
        let all = try report["rewards/accuracies"]?.value("value") ?? -1
        let parts = try ["donotanswer", "mine"].map {
          try report["accuracy/\($0)"]?.value("value") ?? -1
        }
        #expect(abs(all * 3 - parts[0] - 2 * parts[1]) < 1e-12)
      }
    }

    /// An output of one letter: its cache lies beside it, in the working directory.
    @Test func aShortOutputHasItsCacheBesideIt() throws {
      try withWorkFolder { folder in
        try folder.write(
          "r",
          """
          model: \(fixture("gqa-tied"))
          method: dpo
          data: {train: \(fixture("pairs.jsonl"))}
          batch: {pairs: 8, groups: 4}
          steps: 1
          output: o
          """)
        try sailDone(["train", "--config", "r"], Launch(folder: folder.path))
        #expect(folder.exists("o/model/model.safetensors"))
        #expect(try folder.names("token-cache").contains { $0.hasSuffix(".tokens") })
      }
    }

    @Test func inspectShowsTokensAndCounts() throws {
      try withWorkFolder { folder in
        let rows: [JSON] = [
          [
            "prompt": "a", "chosen": "same", "rejected": "same", "margin": 3,
          ],
          ["prompt": "b", "chosen": "xxxxxxxx1", "rejected": "xxxxxxxx2"],
          ["prompt": "c", "chosen": "longer", "rejected": "s"],
        ]
        let file = try folder.write("rows.jsonl", rows.map { $0.text + "\n" }.joined())
        let plain = try sailDone(["inspect", file]).output
        #expect(
          plain.contains("3 rows of the form preference") && plain.contains("of them equal 1"))
        let output = try sailDone([
          "inspect", file, "--model", fixture("gqa-tied"), "--max-length", "9",
          "--max-prompt-length", "8", "--overlong", "cut", "--rows", "1",
        ]).output
        for part in [
          "rows.jsonl:1 · prompt 1,", "margin 3.0", "+ chosen", "<|im_end|>",
          "equal pairs                1", "lost differences           1",
          "missing end tokens         2", "cut                        1",
          "length bias            33.3%",
        ] { #expect(output.contains(part), "\(part) in\n\(output)") }
        #expect(!output.contains("rows.jsonl:2"))
      }
    }

    // MARK: the token cache

    private func settings(_ folder: WorkFolder) throws -> [String] {
      let lines = String(decoding: try fileBytes(fixture("pairs.jsonl")), as: UTF8.self)
      let file = try folder.write("pairs.jsonl", lines)
      // A file that was changed a moment ago is not trusted to stay as it is.
      let hourAgo = Date().addingTimeInterval(-3600)
      try FileManager.default.setAttributes([.modificationDate: hourAgo], ofItemAtPath: file)
      return [
        "data.train=[\(file), {path: \(fixture("long.jsonl")), weight: 0.5, limit: 3}]",
        "data.max_length=4096", "data.max_prompt_length=4096",
      ]
    }

    private func weights(_ folder: WorkFolder, _ output: String) throws -> [UInt8] {
      try folder.bytes("\(output)/model/model.safetensors")
    }

    @Test func resultsDoNotDependOnTheCache() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let settings = try settings(folder)
        func train(_ name: String, _ more: [String] = [], _ launch: Launch = .alone) throws -> Job {
          try sailDone(
            run.arguments(settings + ["output=\(folder.file(name))"] + more), launch)
        }
        _ = try train("first")
        let names = try folder.names("token-cache")
        #expect(names.count { $0.hasSuffix(".tokens") } == 2, "\(names)")
        let times = try names.map { try modified(folder, "token-cache/\($0)") }
        let expected = try weights(folder, "first")

        // Made once: nothing is written by those who find it.
        _ = try train("second", [], .ranks(2))
        #expect(
          try folder.names("token-cache").filter { $0.hasSuffix(".tokens") }
            == names.filter { $0.hasSuffix(".tokens") })
        #expect(try names.map { try modified(folder, "token-cache/\($0)") } == times)
        _ = try train("third", ["data.cache=off"])
        _ = try train("fourth", ["data.cache=\(folder.file("else/where"))"], .ranks(2))
        #expect(try folder.names("else/where").count { $0.hasSuffix(".tokens") } == 2)
        for name in ["second", "third", "fourth"] {
          #expect(try weights(folder, name) == expected, "\(name)")
        }

        // Damaged: made anew, said once.
        for file in names where file.hasSuffix(".tokens") {
          var bytes = try folder.bytes("token-cache/\(file)")
          bytes[bytes.count / 3] ^= 1
          try folder.write("token-cache/\(file)", bytes: bytes)
        }
        let job = try train("fifth", [], .ranks(2))
        #expect(job.errors.components(separatedBy: "cache is damaged and made anew").count == 3)
        #expect(try weights(folder, "fifth") == expected)
        #expect(try !folder.names("token-cache").contains { $0.hasSuffix(".partial") })
      }
    }

    private func modified(_ folder: WorkFolder, _ name: String) throws -> Date? {
      try FileManager.default.attributesOfItem(atPath: folder.file(name))[.modificationDate]
        as? Date
    }

    /// Other data under the old name is seen even with its old time and size.
    @Test func changedDataIsNeverTakenFromTheCache() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let file = folder.file("rows.jsonl")
        func write(_ answer: String) throws {
          let row: JSON = ["prompt": "p", "chosen": .string(answer), "rejected": "other"]
          try folder.write("rows.jsonl", row.text + "\n")
          try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1e9)], ofItemAtPath: file)
        }
        func train(_ name: String) throws -> [UInt8] {
          try sailDone(
            run.arguments([
              "data.train=\(file)", "steps=1", "output=\(folder.file(name))",
            ]))
          return try weights(folder, name)
        }
        try write("first")
        let first = try train("a")
        try write("other")
        let second = try train("b")
        #expect(first != second)
        try write("first")
        #expect(try train("c") == first)
        // Two contents, two token files.
        #expect(try folder.names("token-cache").count { $0.hasSuffix(".tokens") } == 2)
      }
    }

    @Test func aRunGoesOnWithAnotherCacheButNotWithOtherData() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let settings = try settings(folder)
        try sailDone(run.arguments(settings + ["steps=4"]))
        try sailDone(run.arguments(settings + ["data.cache=off"], resume: "auto"))
        let resumed = try weights(folder, "out")
        try sailDone(run.arguments(settings + ["output=\(folder.file("whole"))"]))
        #expect(try weights(folder, "whole") == resumed)
        try folder.write(
          "pairs.jsonl", String(decoding: folder.bytes("pairs.jsonl"), as: UTF8.self) + "\n")
        let job = try sail(run.arguments(settings + ["steps=8"], resume: "auto"))
        #expect(
          job.code != 0 && job.complaints.first?.contains("pairs.jsonl") == true, "\(job.errors)")
      }
    }
  }
}
