import Testing

@testable import Coordinator

/// A token a byte, 1 as BOS; byte `$` (36) serves as end token.
@Suite struct RowEncoderTests {
  private func encoder(
    _ maxLength: Int? = nil, _ maxPrompt: Int = 100, _ overlong: RunConfiguration.Overlong = .drop,
    endToken: Int32? = 36
  ) -> RowEncoder {
    RowEncoder(
      limits: maxLength.map {
        LengthLimits(maxLength: $0, maxPromptLength: maxPrompt, overlong: overlong)
      }, endToken: endToken
    ) { text, special in (special ? [1] : []) + text.utf8.map { Int32($0) } }
  }

  private let row = PreferenceRow(prompt: "ab", chosen: "cde", rejected: "f")

  @Test func specialTokensAndEndToken() throws {
    let result = try encoder().pairs([row], name: "a")
    #expect(
      result.rows == [
        TokenPair(prompt: [1, 97, 98], chosen: [99, 100, 101, 36], rejected: [102, 36])
      ])
    #expect(result.sources == [0] && result.emptyCount == 0 && result.overlongCount == 0)
  }

  @Test func endTokenIsNotDoubledNorInvented() throws {
    let ended = PreferenceRow(prompt: "a", chosen: "b$", rejected: "$")
    #expect(
      try encoder().pairs([ended], name: "a").rows
        == [TokenPair(prompt: [1, 97], chosen: [98, 36], rejected: [36])])
    let without = try encoder(endToken: nil).pairs([row], name: "a")
    #expect(without.rows[0].rejected == [102])
  }

  @Test func overlongRowsAreDroppedAndCounted() throws {
    // Prompt 3 tokens, chosen 4, rejected 2.
    #expect(try encoder(7, 3).pairs([row], name: "a").rows.count == 1)
    let short = PreferenceRow(prompt: "a", chosen: "", rejected: "")
    for (length, prompt) in [(6, 3), (7, 2)] {
      let result = try encoder(length, prompt).pairs([row, short, row], name: "a")
      #expect(result.sources == [1] && result.overlongCount == 2 && result.cutCount == 0)
    }
  }

  @Test func overlongRowsAreCut() throws {
    let result = try encoder(5, 2, .cut).pairs([row], name: "a")
    #expect(
      result.rows == [TokenPair(prompt: [97, 98], chosen: [99, 100, 101], rejected: [102, 36])])
    #expect(result.cutCount == 1)
    let untouched = try encoder(7, 3, .cut).pairs([row], name: "a")
    #expect(untouched.cutCount == 0 && untouched.rows[0].chosen.last == 36)
  }

  @Test func rowsWithoutTokensAreDroppedAndCounted() throws {
    let empty = PreferenceRow(prompt: "a", chosen: "", rejected: "b")
    let result = try encoder(endToken: nil).pairs([empty, row], name: "a")
    #expect(result.sources == [1] && result.emptyCount == 1)
    // With an end token the empty completion is that token.
    #expect(try encoder().pairs([empty], name: "a").rows[0].chosen == [36])
    // Cut to nothing.
    let cut = try encoder(3, 3, .cut).pairs(
      [row, PreferenceRow(prompt: "", chosen: "x", rejected: "y")], name: "a")
    #expect(cut.sources == [1] && cut.emptyCount == 1 && cut.cutCount == 0)
  }

  @Test func noUsableRowIsAnError() {
    do throws(DataError) {
      _ = try encoder(4).pairs([row, row], name: "a.jsonl")
      Issue.record("taken")
    } catch {
      #expect(error.description.hasPrefix("a.jsonl: no usable row: 2 beyond data.max_length"))
    }
    #expect(throws: DataError.self) { try encoder().prompts([], name: "a") }
  }

  @Test func completionsAndPrompts() throws {
    let completions = try encoder().completions(
      [CompletionRow(prompt: "a", completion: "b")], name: "a")
    #expect(completions.rows == [TokenCompletion(prompt: [1, 97], completion: [98, 36])])
    let prompts = [PromptRow(prompt: "abc"), PromptRow(prompt: "a")]
    #expect(try encoder(100, 2).prompts(prompts, name: "a").sources == [1])
    #expect(try encoder(100, 2, .cut).prompts(prompts, name: "a").rows == [[98, 99], [1, 97]])
  }
}
