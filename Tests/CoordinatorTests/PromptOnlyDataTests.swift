import Foundation
import Testing

@testable import Coordinator

@Suite struct PromptOnlyDataTests {
  private let model: ModelFolder

  init() throws {
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Fixtures/models/gqa-tied")
    model = try ModelFolder(path: fixtures.path)
  }

  @Test(arguments: [
    (["sail.dpr.fraction=1"], true), (["sail.dpp.fraction=1"], true),
    (["sail.dpp.fraction=0.3", "sail.dpr.fraction=0.7"], true),
    (["sail.dpp.fraction=0.1", "sail.dpr.fraction=0.8999999999999"], true),
    (["sail.dpr.fraction=0.99"], false), (["sail.dpr.fraction=0"], false),
    (["sail.ddp.fraction=0.5", "sail.dpr.fraction=0.5"], false),
    (["sail.ddp.fraction=1e-12", "sail.dpr.fraction=1"], false),
    (["method=dpo"], false), (["method=sft"], false),
  ])
  func whereResponsesAreAllGenerated(overrides: [String], expected: Bool) throws {
    let configuration = try RunConfiguration.parse(
      RunFileText.least, name: "run.yaml",
      overrides: ["method=sail", "oracle={rule: r}"] + overrides)
    #expect(configuration.trainsOnPromptsAlone == expected)
  }

  private func read(
    _ text: String, _ kind: TrainingData.Kind, maxLength: Int = 1024, maxPromptLength: Int = 512,
    overlong: RunConfiguration.Overlong = .drop
  ) throws -> TrainingData {
    let url = FileManager.default.temporaryDirectory
      .appendingPathComponent("prompt-only-\(UUID().uuidString).jsonl")
    try Data(text.utf8).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    return try TrainingData(
      path: url.path, kind: kind, model: model,
      limits: LengthLimits(
        maxLength: maxLength, maxPromptLength: maxPromptLength, overlong: overlong))
  }

  @Test func anyLineWithAPromptIsARow() throws {
    let text = """
      {"prompt": "only a prompt"}
      {"prompt": "a pair", "chosen": "yes", "rejected": "no"}
      {"prompt": "half a pair", "chosen": "yes"}
      {"prompt": "no texts", "chosen": 3, "rejected": []}
      """
    let data = try read(text, .prompts(keepingResponses: true))
    #expect(data.prompts == ["only a prompt", "a pair", "half a pair", "no texts"])
    #expect(data.rowsWithResponses == [1] && data.chosen == ["", "yes", "", ""])
    #expect(data.pairs.map(\.prompt) == data.prompts.map { model.tokenizer.encode($0) })
    #expect(data.pairs[0].chosen.isEmpty && data.pairs[0].rejected.isEmpty)
    let pair = try read(text.lines[1], .pairs).pairs[0]
    #expect(data.pairs[1] == pair)
    #expect(data.selecting([2, 1]).rowsWithResponses == [1])
    let bare = try read(text, .prompts(keepingResponses: false))
    for stripped in [data.withoutResponses, bare] {
      #expect(stripped.prompts == data.prompts && stripped.rowsWithResponses.isEmpty)
      #expect(stripped.pairs.map(\.prompt) == data.pairs.map(\.prompt))
      #expect(stripped.chosen == ["", "", "", ""])
    }
  }

  @Test func onlyThePromptsLimitApplies() throws {
    let long = String(repeating: "word ", count: 50)
    let text = """
      {"prompt": "p", "chosen": "\(long)", "rejected": "no"}
      {"prompt": "\(long)"}
      """
    let data = try read(text, .prompts(keepingResponses: true), maxLength: 10, maxPromptLength: 8)
    #expect(data.prompts == ["p"] && data.leftOut.overlong == 1 && data.rowsWithResponses.isEmpty)
    // Even a total below the prompt's own limit.
    let whole = try read(text, .prompts(keepingResponses: true), maxLength: 10)
    #expect(whole.count == 2 && whole.leftOut.overlong == 0)
    let cut = try read(
      text, .prompts(keepingResponses: true), maxLength: 10, maxPromptLength: 8, overlong: .cut)
    #expect(cut.count == 2 && cut.cutCount == 1 && cut.pairs[1].prompt.count == 8)
    #expect(cut.rowsWithResponses == [0] && cut.pairs[0].chosen.count <= 9)
  }

  @Test func pairsSayWhatPromptsNeed() {
    let error = #expect(throws: DataError.self) {
      try read(
        #"{"prompt": "p", "chosen": "c", "rejected": "r"}"# + "\n" + #"{"prompt": "p"}"#, .pairs)
    }
    #expect(error?.description.contains(".jsonl:2: the key \"chosen\" is missing; rows") == true)
    #expect(error?.description.contains("online fractions") == true)
    #expect(throws: DataError.self) {
      try read("{\"text\": \"p\"}", .prompts(keepingResponses: true))
    }
    #expect(throws: DataError.self) {
      try read("{\"prompt\": 3}", .prompts(keepingResponses: true))
    }
  }
}

extension String {
  /// Its lines.
  fileprivate var lines: [String] { split(separator: "\n").map(String.init) }
}
