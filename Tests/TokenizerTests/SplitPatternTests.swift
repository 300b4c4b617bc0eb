import Testing

@testable import Tokenizer

@Suite struct SplitPatternTests {
  private func words(_ text: String, _ pattern: SplitPattern) -> [String] {
    let bytes = Array(text.utf8)
    var words: [String] = []
    var start = 0
    while start < bytes.count {
      let end = pattern.wordEnd(in: bytes, from: start, to: bytes.count)
      words.append(String(decoding: bytes[start..<end], as: UTF8.self))
      start = end
    }
    return words
  }

  // Worked by hand from the expression.
  @Test(arguments: [
    ("I'll we'RE", ["I", "'ll", " we", "'RE"]),
    ("'\u{17F}x 'sx", ["'\u{17F}", "x", " '", "sx"]),
    ("\tfoo  bar", ["\tfoo", " ", " bar"]),
    ("a12 3", ["a", "1", "2", " ", "3"]),
    ("x!?\n\n y", ["x", "!?\n\n", " y"]),
    (" \n \n  z", [" \n \n", " ", " z"]),
    ("  ", ["  "]),
    ("\u{3000}\u{3000}(", ["\u{3000}", "\u{3000}", "("]),
    ("e\u{301}e", ["e", "\u{301}e"]),
  ])
  func qwen2(text: String, expected: [String]) {
    let found = words(text, .qwen2(digits: 1))
    #expect(found.map { Array($0.utf8) } == expected.map { Array($0.utf8) })
  }

  @Test func llama3TakesThreeDigits() {
    #expect(words("1234567 89", .qwen2(digits: 3)) == ["123", "456", "7", " ", "89"])
  }

  @Test func gpt2KeepsCaseAndLeadsWithSpacesOnly() {
    #expect(words("it's IT'S", .gpt2) == ["it", "'s", " IT", "'", "S"])
    #expect(words("a 12\n\n b\tc", .gpt2) == ["a", " 12", "\n\n", " b", "\t", "c"])
  }

  @Test func knowsExpressionsToTheLetter() {
    let expressions = [
      SplitPattern.qwen2Expression, SplitPattern.llama3Expression, SplitPattern.gpt2Expression,
    ]
    for expression in expressions {
      #expect(SplitPattern(expression: expression) != nil)
      #expect(SplitPattern(expression: expression + " ") == nil)
    }
  }
}
