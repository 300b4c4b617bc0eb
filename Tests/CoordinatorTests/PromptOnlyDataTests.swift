import Testing

@testable import Coordinator

@Suite struct PromptOnlyDataTests {
  private let model: ModelFolder

  init() throws {
    model = try ModelFolder(path: fixturePath("models/gqa-tied"))
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

  /// The rows of a file's text, and what became of the others.
  private func read(
    _ text: String, _ purpose: DataRows.Purpose, maxLength: Int = 1024,
    maxPromptLength: Int = 512, overlong: RunConfiguration.Overlong = .drop
  ) throws -> (rows: [TokenRecord], counts: RowCounts) {
    var rows: [TokenRecord] = []
    var counts = RowCounts()
    try withDataFolder { folder in
      let recipe = TokenRecipe(
        model: model, template: .auto,
        limits: LengthLimits(
          maxLength: maxLength, maxPromptLength: maxPromptLength, overlong: overlong),
        purpose: purpose)
      let file = RunConfiguration.DataFile(path: try folder.write("rows.jsonl", text))
      counts = try recipe.records(of: file, form: nil) { row, _ in rows.append(row) }
    }
    return (rows, counts)
  }

  @Test func anyLineWithAPromptIsARow() throws {
    let text = """
      {"prompt": "only a prompt"}
      {"prompt": "a pair", "chosen": "yes", "rejected": "no"}
      {"prompt": "half a pair", "chosen": "yes"}
      {"prompt": "no texts", "chosen": 3, "rejected": []}
      """
    let (rows, counts) = try read(text, .prompts(keepingResponses: true))
    #expect(rows.map(\.promptText) == ["only a prompt", "a pair", "half a pair", "no texts"])
    #expect(rows.map(\.chosenText) == ["", "yes", "", ""])
    #expect(rows.map(\.prompt) == rows.map { model.tokenizer.encode($0.promptText) })
    #expect(rows[0].chosen.isEmpty && rows[0].rejected.isEmpty)
    #expect(counts.usable == 4 && counts.withResponses == 1)
    let pair = String(text.split(separator: "\n")[1])
    #expect(try read(pair, .pairs()).rows[0] == rows[1])
    let bare = try read(text, .prompts(keepingResponses: false))
    #expect(bare.rows.map(\.prompt) == rows.map(\.prompt) && bare.counts.withResponses == 0)
    #expect(bare.rows.allSatisfy { $0.chosen.isEmpty && $0.chosenText.isEmpty })
  }

  @Test func onlyThePromptsLimitApplies() throws {
    let long = String(repeating: "word ", count: 50)
    let text = """
      {"prompt": "p", "chosen": "\(long)", "rejected": "no"}
      {"prompt": "\(long)"}
      """
    let purpose = DataRows.Purpose.prompts(keepingResponses: true)
    let (rows, counts) = try read(text, purpose, maxLength: 10, maxPromptLength: 8)
    #expect(rows.map(\.promptText) == ["p"] && counts.overlong == 1 && counts.withResponses == 0)
    // Even a total below the prompt's own limit.
    let whole = try read(text, purpose, maxLength: 10)
    #expect(whole.rows.count == 2 && whole.counts.overlong == 0)
    let cut = try read(text, purpose, maxLength: 10, maxPromptLength: 8, overlong: .cut)
    #expect(cut.rows.count == 2 && cut.counts.cut == 1 && cut.rows[1].prompt.count == 8)
    #expect(cut.counts.withResponses == 1 && cut.rows[0].chosen.count <= 9)
  }

  @Test func pairsSayWhatPromptsNeed() throws {
    let configuration = try RunFileText.read()
    let error = #expect(throws: DataError.self) {
      try read(
        #"{"prompt": "p", "chosen": "c", "rejected": "r"}"# + "\n" + #"{"prompt": "p"}"#,
        DataRows.Purpose(configuration, forEvaluation: false))
    }
    #expect(error?.description.contains(".jsonl:2: the key \"chosen\" is missing; rows") == true)
    #expect(error?.description.contains("online fractions") == true)
    for text in ["{\"text\": \"p\"}", "{\"prompt\": 3}"] {
      #expect(throws: DataError.self) { try read(text, .prompts(keepingResponses: true)) }
    }
  }

  @Test func otherFormsGivePromptsToo() throws {
    let ultra = #"{"instruction": "i", "completions": []}"#
    #expect(try read(ultra, .prompts(keepingResponses: true)).rows.map(\.promptText) == ["i"])
    // Without two scores there is no pair.
    #expect(throws: DataError.self) { try read(ultra, .pairs()) }
    let chat = #"{"messages": [{"role": "user", "content": "u"}]}"#
    #expect(
      try read(chat, .prompts(keepingResponses: true)).rows[0].promptText.hasSuffix("assistant\n"))
    #expect(throws: DataError.self) { try read(chat, .completions) }
  }
}
