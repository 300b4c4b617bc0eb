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

  private let row = TextRow(prompt: "ab", responses: ["cde", "f"])

  private func encoded(
    _ prompt: [Int32], _ responses: [[Int32]], isCut: Bool = false
  ) -> RowEncoder.Outcome {
    .row(.init(prompt: prompt, responses: responses, isCut: isCut))
  }

  @Test func specialTokensAndEndToken() {
    #expect(encoder().encode(row) == encoded([1, 97, 98], [[99, 100, 101, 36], [102, 36]]))
  }

  @Test func endTokenIsNotDoubledNorInvented() {
    let ended = TextRow(prompt: "a", responses: ["b$", "$"])
    #expect(encoder().encode(ended) == encoded([1, 97], [[98, 36], [36]]))
    #expect(encoder(endToken: nil).encode(row) == encoded([1, 97, 98], [[99, 100, 101], [102]]))
  }

  /// A chat template has written its own beginning and end.
  @Test func templatedTextIsTakenAsItIs() {
    var templated = row
    templated.isTemplated = true
    #expect(encoder().encode(templated) == encoded([97, 98], [[99, 100, 101], [102]]))
  }

  @Test func overlongRowsAreDropped() {
    // Prompt 3 tokens, chosen 4, rejected 2.
    #expect(encoder(7, 3).encode(row) != .overlong)
    let short = TextRow(prompt: "a", responses: ["", ""])
    for (length, prompt) in [(6, 3), (7, 2)] {
      #expect(encoder(length, prompt).encode(row) == .overlong)
      #expect(encoder(length, prompt).encode(short) != .overlong)
    }
  }

  @Test func overlongRowsAreCut() {
    #expect(
      encoder(5, 2, .cut).encode(row)
        == encoded([97, 98], [[99, 100, 101], [102, 36]], isCut: true))
    #expect(
      encoder(7, 3, .cut).encode(row) == encoded([1, 97, 98], [[99, 100, 101, 36], [102, 36]]))
  }

  @Test func rowsWithoutTokens() {
    let empty = TextRow(prompt: "a", responses: ["", "b"])
    #expect(encoder(endToken: nil).encode(empty) == .empty)
    // With an end token the empty completion is that token.
    #expect(encoder().encode(empty) == encoded([1, 97], [[36], [98, 36]]))
    // Cut to nothing.
    #expect(encoder(3, 3, .cut).encode(row) == .empty)
  }

  @Test func completionsAndPrompts() {
    #expect(
      encoder().encode(TextRow(prompt: "a", responses: ["b"])) == encoded([1, 97], [[98, 36]]))
    let prompt = TextRow(prompt: "abc", responses: [])
    #expect(encoder(100, 2).encode(prompt) == .overlong)
    #expect(encoder(100, 2, .cut).encode(prompt) == encoded([98, 99], [], isCut: true))
    // A prompt by itself knows its own limit only.
    #expect(encoder(2, 4).encode(prompt) == encoded([1, 97, 98, 99], []))
  }
}
