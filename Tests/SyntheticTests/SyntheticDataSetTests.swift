import Foundation
import JSONText
import Testing

@testable import Synthetic

@Suite struct SyntheticDataSetTests {
  private static func settings() -> SyntheticDataSet.Settings {
    var settings = SyntheticDataSet.Settings()
    settings.supervisedCount = 60
    settings.trainCount = 40
    settings.evalCount = 20
    settings.promptCount = 10
    settings.vocabularySize = 300
    return settings
  }

  private func withFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.path + "/synthetic-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  private func rows(_ path: String) throws -> [JSON] {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(bytes.last == UInt8(ascii: "\n"))
    return try bytes.split(separator: UInt8(ascii: "\n")).map { try JSON(parsing: Array($0)) }
  }

  @Test func theFolderHoldsWhatItSays() throws {
    try withFolder { folder in
      var told: [String] = []
      try SyntheticDataSet.write(Self.settings(), folder: folder) { told.append($0) }
      #expect(told.count == 5)
      let files = try FileManager.default.subpathsOfDirectory(atPath: folder).sorted()
      #expect(
        files == [
          "README.md", "eval.jsonl", "model", "model/config.json", "model/generation_config.json",
          "model/tokenizer.json", "model/tokenizer_config.json", "prompts.jsonl", "sft.jsonl",
          "train.jsonl",
        ])
      var prompts: [String] = []
      for (file, count, keys) in [
        ("sft", 60, ["prompt", "completion"]), ("train", 40, ["prompt", "chosen", "rejected"]),
        ("eval", 20, ["prompt", "chosen", "rejected"]), ("prompts", 10, ["prompt"]),
      ] {
        let rows = try rows("\(folder)/\(file).jsonl")
        #expect(rows.count == count)
        for row in rows {
          #expect(row.members?.map(\.key) == keys)
          let prompt = try #require(row["prompt"]?.string)
          #expect(Request(prompt: prompt) != nil)
          prompts.append(prompt)
        }
      }
      #expect(Set(prompts).count == 130)

      let config = try JSON(parsing: Array(Data(contentsOf: url(folder, "model/config.json"))))
      let tokenizer = try JSON(
        parsing: Array(Data(contentsOf: url(folder, "model/tokenizer.json"))))
      let added = try #require(tokenizer["added_tokens"]?.elements)
      let end = added.first { $0["content"]?.string == "<|im_end|>" }?["id"]?.integer
      #expect(config["eos_token_id"]?.integer == end)
      #expect(config["vocab_size"]?.integer == 300)
      #expect(config["tie_word_embeddings"]?.boolean == true)
      let tokenizerConfig = try JSON(
        parsing: Array(Data(contentsOf: url(folder, "model/tokenizer_config.json"))))
      #expect(tokenizerConfig["eos_token"]?.string == "<|im_end|>")
    }
  }

  @Test func theSameSettingsGiveTheSameBytes() throws {
    try withFolder { first in
      try withFolder { second in
        try SyntheticDataSet.write(Self.settings(), folder: first) { _ in }
        try SyntheticDataSet.write(Self.settings(), folder: second) { _ in }
        for file in ["sft.jsonl", "train.jsonl", "eval.jsonl", "model/tokenizer.json"] {
          #expect(try Data(contentsOf: url(first, file)) == Data(contentsOf: url(second, file)))
        }
      }
    }
  }

  @Test func anExistingFolderIsLeftAlone() throws {
    try withFolder { folder in
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true)
      let error = #expect(throws: SyntheticError.self) {
        try SyntheticDataSet.write(Self.settings(), folder: folder) { _ in }
      }
      #expect(error?.description.contains("exists already") == true)
      #expect(try FileManager.default.subpathsOfDirectory(atPath: folder).isEmpty)
    }
  }

  @Test func anUnwritablePlaceIsNamed() {
    let error = #expect(throws: SyntheticError.self) {
      try SyntheticDataSet.write(Self.settings(), folder: "/dev/null/data") { _ in }
    }
    #expect(error?.description.contains("/dev/null/data") == true)
  }

  @Test(arguments: [
    "labelNoise", "supervisedCount", "promptCount", "vocabularySize", "hiddenSize",
    "keyValueHeadCount", "ropeTheta", "initializerRange", "layerCount", "headCount",
  ])
  func unusableSettingsAreNamed(name: String) throws {
    var settings = Self.settings()
    switch name {
    case "labelNoise": settings.labelNoise = .nan
    case "supervisedCount": settings.supervisedCount = .max
    case "promptCount": settings.promptCount = 0
    case "vocabularySize": settings.vocabularySize = 257
    case "hiddenSize": settings.model.hiddenSize = 130
    case "keyValueHeadCount": settings.model.keyValueHeadCount = 3
    case "ropeTheta": settings.model.ropeTheta = .infinity
    case "initializerRange": settings.model.initializerRange = 0
    case "layerCount": settings.model.layerCount = -1
    default: settings.model.headCount = 0
    }
    let error = #expect(throws: SyntheticError.self) { try settings.validate() }
    #expect(error?.description.contains(name) == true)
  }

  private func url(_ folder: String, _ file: String) -> URL {
    URL(fileURLWithPath: "\(folder)/\(file)")
  }
}
