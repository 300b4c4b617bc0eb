import JSONText
import Testing

@testable import Tokenizer

/// Ids and texts against Hugging Face tokenizers (cases.json).
@Suite struct BPETokenizerTests {
  @Test func idsAndDecodingsEqualHuggingFace() throws {
    let count = try compareCases(of: Fixtures.caseSets())
    #expect(count > 900)
  }

  @Test func arbitraryIdsDecodeAsHuggingFaceDoes() throws {
    try compareDecodings(of: Fixtures.caseSets())
  }

  @Test func lookupsCompareBytes() throws {
    let tokenizer = try Fixtures.tokenizer("qwen2-strings.json")
    let composed = tokenizer.id(of: "caf\u{E9}")
    let decomposed = try #require(tokenizer.id(of: "cafe\u{301}"))
    #expect(composed == nil)
    #expect(tokenizer.token(of: decomposed)?.unicodeScalars.count == 5)
    #expect(tokenizer.id(of: "!") == 0)
    #expect(tokenizer.token(of: 0) == "!")
    #expect(tokenizer.id(of: "\u{120}the") == tokenizer.encode(" the").first)
    #expect(tokenizer.id(of: "no such token") == nil)
    for id in [-1, Int32.min, Int32.max, Int32(tokenizer.vocabularySize)] {
      #expect(tokenizer.token(of: id) == nil)
      #expect(tokenizer.decode([id]).isEmpty)
    }
    #expect(tokenizer.token(of: Int32(tokenizer.vocabularySize - 1)) != nil)
  }

  /// A prompt gets what the post-processor puts at its beginning once, whoever puts it there.
  @Test func theBeginningIsNotPutTwice() throws {
    let tokenizer = try Fixtures.tokenizer("llama.json")
    let begin = try #require(tokenizer.encode("").first)
    let text = try #require(tokenizer.token(of: begin))
    let plain = tokenizer.encodePrompt("a b")
    #expect(plain == tokenizer.encode("a b") && plain.first == begin)
    let written = tokenizer.encodePrompt(text + "a b")
    #expect(written.filter { $0 == begin }.count == 1 && written.first == begin)
    #expect(tokenizer.encode(text + "a b").filter { $0 == begin }.count == 2)
    let without = try Fixtures.tokenizer("qwen2.json")
    #expect(without.encodePrompt("a b") == without.encode("a b"))
  }

  // A quadratic algorithm takes minutes here, the right one a fraction of a second.
  @Test(.timeLimit(.minutes(1))) func longRunsTakeNoQuadraticTime() throws {
    let tokenizer = try Fixtures.tokenizer("qwen2.json")
    let strings = try Fixtures.tokenizer("qwen2-strings.json")
    let long = String(repeating: "e", count: 50_000)
    expectSame(tokenizer.decode(tokenizer.encode(long)), long)
    for unit in [" ", "\n", " \n", "'", "é", "[L]\n", "[R] ", "<"] {
      let text = String(repeating: unit, count: 3_000)
      expectSame(tokenizer.decode(tokenizer.encode(text)), text)
      #expect(strings.encode(text).isEmpty == false)
    }
  }

  // A SentencePiece vocabulary has no words: the whole text is one piece for merging.
  @Test(.timeLimit(.minutes(1))) func longTextsWithoutWordsTakeNoQuadraticTime() throws {
    let tokenizer = try Fixtures.tokenizer("llama.json")
    for unit in ["e", " ", "▁", "the quick ", "\u{1F600}", "\n", "<0x0A>", "<s>", "aé"] {
      let text = String(repeating: unit, count: 40_000)
      #expect(!tokenizer.encode(text).isEmpty)
    }
  }

  @Test func canonicallyEqualVocabularyEntriesStayApart() throws {
    var value = try Fixtures.json("qwen2.json")
    let spellings = ["\u{C5}", "\u{212B}", "A\u{30A}"]
    var members = try #require(value["model"]?["vocab"]?.members)
    members = members.filter { !$0.key.utf8.elementsEqual("\u{C5}".utf8) }
    for (index, spelling) in spellings.enumerated() {
      members.append(JSON.Member(key: spelling, value: .integer(Int64(700 + index))))
    }
    value = value.replacing(path: ["model", "vocab"], by: .object(members))
    value = value.replacing(path: ["model", "merges"], by: .array([]))
    value = value.replacing("added_tokens", by: .array([]))
    let tokenizer = try BPETokenizer(tokenizerJSON: value, source: "x")
    for (index, spelling) in spellings.enumerated() {
      #expect(tokenizer.id(of: spelling) == Int32(700 + index))
    }
    #expect(tokenizer.vocabularySize == 703)
  }
}

/// Every kind of tokenizer against Hugging Face tokenizers (kinds.json).
@Suite struct TokenizerKindTests {
  @Test func idsAndDecodingsEqualHuggingFace() throws {
    let sets = try Fixtures.caseSets("kinds.json")
    #expect(sets.count > 20)
    let count = try compareCases(of: sets)
    #expect(count > 500)
    try compareDecodings(of: sets)
  }
}

/// Compares ids and texts with those of a file, and counts the texts.
private func compareCases(of sets: [Fixtures.CaseSet]) throws -> Int {
  var count = 0
  for set in sets {
    for test in set.cases {
      let text = try #require(test["text"]?.string)
      let expected = try #require(test["ids"]).ids
      let ids = set.tokenizer.encode(text)
      #expect(ids == expected, "\(set.name): \(text.debugDescription)")
      let plain = set.tokenizer.encode(text, addSpecialTokens: false)
      #expect(plain == test["plain"]?.ids ?? expected)
      let decoded = test["decoded"]?.string ?? text
      expectSame(set.tokenizer.decode(expected, skipSpecialTokens: false), decoded)
      expectSame(set.tokenizer.decode(expected), test["skipped"]?.string ?? decoded)
      count += 1
    }
  }
  return count
}

private func compareDecodings(of sets: [Fixtures.CaseSet]) throws {
  for set in sets {
    for test in set.decodings {
      let ids = try #require(test["ids"]).ids
      expectSame(set.tokenizer.decode(ids), try #require(test["skipped"]?.string))
      expectSame(
        set.tokenizer.decode(ids, skipSpecialTokens: false), try #require(test["decoded"]?.string))
    }
  }
}

/// Equality of bytes: `==` of strings is canonical equivalence.
private func expectSame(
  _ found: String, _ expected: String, _ location: SourceLocation = #_sourceLocation
) {
  #expect(
    Array(found.utf8) == Array(expected.utf8), "\(found.debugDescription)",
    sourceLocation: location)
}
