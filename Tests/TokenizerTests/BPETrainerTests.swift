import JSONText
import Testing

@testable import Tokenizer

@Suite struct BPETrainerTests {
  private static let texts = [
    "low lower lowest low low", "new newer newest wide wider widest", "Höhe é e\u{301} 你好 😀\n\n",
  ]

  @Test func outputReadsAndRoundTrips() throws {
    let specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    let json = BPETrainer.train(
      texts: BPETrainerTests.texts, vocabularySize: 290, specialTokens: specials)
    // Through text, as a run writes and reads it.
    let value = try JSON(parsing: Array(json.indentedText.utf8))
    let tokenizer = try BPETokenizer(tokenizerJSON: value, source: "trained")
    #expect(tokenizer.vocabularySize == 290)
    #expect(specials.map { tokenizer.id(of: $0) } == [287, 288, 289])
    for text in BPETrainerTests.texts + ["unseen: ≠ lowest\r\n", "<|im_start|>low<|im_end|>"] {
      let expected = Normalization.composed(Array(text.utf8)) ?? Array(text.utf8)
      let decoded = tokenizer.decode(tokenizer.encode(text), skipSpecialTokens: false)
      #expect(Array(decoded.utf8) == expected)
    }
    #expect(tokenizer.encode(" low<|im_end|>").count == 2)
    #expect(tokenizer.decode(tokenizer.encode("low<|im_end|>")) == "low")
  }

  @Test func mergesTheMostFrequentPairAndThenTheLeastIds() throws {
    // Words: "ab" three times, " cd" three times, " x" once. Pairs by count: (a, b), (c, d) and
    // (space, c) three times. Ids: a 64, b 65, c 66, d 67, space 220.
    let json = BPETrainer.train(
      texts: ["ab cd", "ab cd", "ab cd x"], vocabularySize: 300, specialTokens: [])
    let merges = try #require(json["model"]?["merges"]?.elements)
    #expect(
      merges.map { $0.elements?.compactMap(\.string) } == [
        ["a", "b"], ["c", "d"], ["\u{120}", "cd"], ["\u{120}", "x"],
      ])
  }

  @Test func isAFunctionOfItsArguments() {
    let first = BPETrainer.train(
      texts: BPETrainerTests.texts, vocabularySize: 320, specialTokens: ["<s>"])
    let second = BPETrainer.train(
      texts: BPETrainerTests.texts, vocabularySize: 320, specialTokens: ["<s>"])
    #expect(Array(first.text.utf8) == Array(second.text.utf8))
  }

  @Test(arguments: [Int.min, 0, 256, 258])
  func smallSizesKeepBytesAndSpecialTokens(size: Int) throws {
    let json = BPETrainer.train(
      texts: ["aaaa"], vocabularySize: size, specialTokens: ["<s>", "", "<s>", "</s>", "a"])
    let tokenizer = try BPETokenizer(tokenizerJSON: json, source: "trained")
    #expect(tokenizer.vocabularySize == 258)
    #expect(tokenizer.id(of: "<s>") == 256)
    #expect(tokenizer.id(of: "</s>") == 257)
    #expect(tokenizer.id(of: "a") == 64)
  }

  @Test func noTextsMakeNoMerges() throws {
    let json = BPETrainer.train(texts: [], vocabularySize: 1000, specialTokens: [])
    #expect(json["model"]?["merges"]?.elements?.isEmpty == true)
    let tokenizer = try BPETokenizer(tokenizerJSON: json, source: "trained")
    #expect(tokenizer.encode("é") == [127, 102])
  }
}
