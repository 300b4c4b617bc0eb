import JSONText
import Testing

@testable import Tokenizer

/// What is not implemented, or broken, ends in a sentence that names it.
@Suite struct TokenizerRefusalTests {
  private struct Refusal: Sendable {
    let path: [String]
    let value: JSON?
    let words: [String]

    init(_ path: String, _ value: JSON?, _ words: String...) {
      self.path = path.split(separator: "/").map(String.init)
      self.value = value
      self.words = words
    }
  }

  private static let split = "pre_tokenizer/pretokenizers/0"
  private static let byteLevel = "pre_tokenizer/pretokenizers/1"

  private static let components: [Refusal] = [
    Refusal("version", "2.0", "version", "\"1.0\"", "\"2.0\""),
    Refusal("truncation", ["max_length": 4], "truncation"),
    Refusal("padding", ["pad_id": 0], "padding"),
    Refusal("normalizer", ["type": "NFKC"], "normalizer", "\"NFKC\"", "NFC"),
    Refusal("normalizer", ["type": "Sequence", "normalizers": [["type": "Strip"]]], "\"Strip\""),
    Refusal("normalizer", "NFC", "normalizer", "an object", "\"NFC\""),
    Refusal("normalizer", ["type": 1], "normalizer.type", "a string", "1"),
    Refusal("normalizer", ["type": "Sequence"], "normalizer.normalizers", "an array", "nothing"),
    Refusal("normalizer", ["type": "Prepend"], "normalizer.prepend", "a string"),
    Refusal("normalizer", ["type": "Replace", "pattern": ["Regex": " "]], "normalizer.pattern"),
    Refusal("normalizer", ["type": "Replace", "pattern": ["String": ""]], "normalizer.pattern"),
    Refusal("normalizer", ["type": "Replace", "pattern": ["String": " "]], "content", "a string"),
    Refusal("normalizer", ["type": "Precompiled"], "\"Precompiled\""),
    Refusal("pre_tokenizer", ["type": "Metaspace"], "pre_tokenizer.replacement", "nothing"),
    Refusal("pre_tokenizer", metaspace("replacement", "__"), "replacement", "\"__\""),
    Refusal("pre_tokenizer", metaspace("prepend_scheme", "last"), "prepend_scheme", "\"last\""),
    Refusal("pre_tokenizer", metaspace("prepend_scheme", .null), "prepend_scheme", "null"),
    Refusal("pre_tokenizer", metaspace("split", 1), "split", "true or false"),
    Refusal("pre_tokenizer", metaspace("add_prefix_space", false), "add_prefix_space false"),
    Refusal("pre_tokenizer", ["type": "Whitespace"], "\"Whitespace\"", "Metaspace"),
    Refusal("\(split)", ["type": "Digits"], "pretokenizers[0]", "\"Digits\""),
    Refusal("\(byteLevel)/type", "Split", "pretokenizers[1].behavior"),
    Refusal("\(split)", ["type": "ByteLevel", "add_prefix_space": false], "after ByteLevel"),
    Refusal("\(split)/behavior", "Removed", "pretokenizers[0].behavior", "\"Removed\""),
    Refusal("\(split)/invert", true, "invert"),
    Refusal("\(split)/invert", 0, "invert", "true or false", "0"),
    Refusal("\(split)/pattern", ["Regex": "\\s+"], "Regex", "\\\\s+"),
    Refusal("\(split)/pattern", ["String": " "], "pattern", "Regex"),
    Refusal("\(byteLevel)/add_prefix_space", nil, "add_prefix_space", "nothing"),
    Refusal("\(byteLevel)/use_regex", 1, "use_regex"),
    Refusal("post_processor", ["type": "RobertaProcessing"], "\"RobertaProcessing\""),
    Refusal("post_processor", ["type": "BertProcessing"], "\"BertProcessing\""),
    Refusal("post_processor/single", [], "single", "none"),
    Refusal("post_processor/single/0", ["Sequence": ["id": "B"]], "single[0]"),
    Refusal("post_processor/single/0", ["SpecialToken": ["id": "<s>"]], "\"<s>\""),
    Refusal("decoder", .null, "decoder", "no decoder"),
    Refusal("decoder", ["type": "WordPiece"], "decoder", "\"WordPiece\""),
    Refusal("decoder", ["type": "Metaspace"], "decoder.replacement"),
    Refusal(
      "decoder", ["type": "Sequence", "decoders": [["type": "ByteLevel"], ["type": "CTC"]]],
      "decoders[1]", "\"CTC\""),
    Refusal("decoder", ["type": "Strip", "content": "ab"], "decoder.content", "\"ab\""),
    Refusal("decoder", ["type": "Strip", "content": " ", "start": -1], "decoder.start", "-1"),
    Refusal(
      "decoder", ["type": "Strip", "content": " ", "start": 1, "stop": 1], "decoder.stop", "1"),
  ]

  private static func metaspace(_ key: String, _ value: JSON) -> JSON {
    let plain: JSON = ["type": "Metaspace", "replacement": "_"]
    return plain.replacing(key, by: value)
  }

  private static let tables: [Refusal] = [
    Refusal("model", nil, "model", "nothing"),
    Refusal("model/type", "Unigram", "model", "\"Unigram\"", "BPE"),
    Refusal("model/type", "WordPiece", "model", "\"WordPiece\""),
    Refusal("model/type", "WordLevel", "model", "\"WordLevel\""),
    Refusal("model/unk_token", 1, "unk_token", "1"),
    Refusal("model/dropout", 0.1, "dropout", "0.1"),
    Refusal("model/byte_fallback", "", "byte_fallback", "true or false"),
    Refusal("model/fuse_unk", 1, "fuse_unk", "1"),
    Refusal("model/ignore_merges", "yes", "ignore_merges", "true or false", "\"yes\""),
    Refusal("model/end_of_word_suffix", "</w>", "end_of_word_suffix", "</w>"),
    Refusal("model/continuing_subword_prefix", "##", "continuing_subword_prefix", "##"),
    Refusal("model/vocab", [["a", 0]], "model.vocab", "an object", "an array"),
    Refusal("model/vocab/a", -1, "model.vocab[\"a\"]", "-1"),
    Refusal("model/vocab/a", 2_147_483_648, "model.vocab[\"a\"]", "2147483648"),
    Refusal("model/vocab/a", 1.5, "1.5"),
    Refusal("model/vocab/a", 0, "\"a\"", "\"!\" too"),
    Refusal("model/vocab/e", nil, "merges", "\"e\""),
    Refusal("model/merges", nil, "model.merges", "an array", "nothing"),
    Refusal("model/merges/0", ["a"], "merges[0]"),
    Refusal("model/merges/1", "a b", "merges[1]", "one form"),
    Refusal("model/merges", ["a b c"], "merges[0]", "left right"),
    Refusal("model/merges", ["a "], "merges[0]"),
    Refusal("model/merges", [["q", "q"]], "merges[0]", "\"qq\""),
    Refusal("added_tokens", ["a": 1], "added_tokens", "an array"),
    Refusal("added_tokens/0", "<s>", "added_tokens[0]", "an object"),
    Refusal("added_tokens/0/id", 650, "added_tokens[0].id", "600", "650"),
    Refusal("added_tokens/0/content", "", "added_tokens[0].content"),
    Refusal("added_tokens/1/content", "<|endoftext|>", "added_tokens[1].content"),
    Refusal("added_tokens/0/special", nil, "added_tokens[0].special", "nothing"),
    Refusal("added_tokens/0/normalized", 1, "added_tokens[0].normalized", "1"),
  ]

  @Test func namesWhatIsNotImplemented() throws {
    let whole = try Fixtures.json("qwen2.json")
    for refusal in TokenizerRefusalTests.components + TokenizerRefusalTests.tables {
      let value = whole.replacing(path: refusal.path, by: refusal.value)
      let error = #expect(throws: TokenizerError.self, "\(refusal.path)") {
        try BPETokenizer(tokenizerJSON: value, source: "folder/tokenizer.json")
      }
      let sentence = error?.description ?? ""
      for word in refusal.words + ["folder/tokenizer.json"] {
        #expect(sentence.contains(word), "\(refusal.path): \(sentence)")
      }
    }
  }

  @Test func namesTemplatesItCannotDo() throws {
    let whole = try Fixtures.json("qwen2.json")
    let template = try #require(whole["post_processor"])
    let special: JSON = ["SpecialToken": ["id": "E", "type_id": 0]]
    let list = JSON.array([special] + (template["single"]?.elements ?? []))
    for (ids, word) in [([9999] as JSON, "9999"), ([-1], "-1"), (["a"], "\"a\""), (.null, "null")] {
      let entry = template.replacing("single", by: list)
        .replacing("special_tokens", by: ["E": ["id": "E", "ids": ids, "tokens": ["x"]]])
      let error = #expect(throws: TokenizerError.self) {
        try BPETokenizer(tokenizerJSON: whole.replacing("post_processor", by: entry), source: "t")
      }
      #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
    }
    let twice: JSON = ["type": "Sequence", "processors": [template, template]]
    #expect(throws: TokenizerError.self) {
      try BPETokenizer(tokenizerJSON: whole.replacing("post_processor", by: twice), source: "t")
    }
  }

  @Test func anUnknownTokenThatTheVocabularyLacksIsRefusedWhereItIsNeeded() throws {
    let bytes = try Fixtures.json("qwen2.json").replacing(
      path: ["model", "unk_token"], by: "<none>")
    #expect(try BPETokenizer(tokenizerJSON: bytes, source: "t").encode("a").count == 1)
    let pieces = try Fixtures.json("llama.json").replacing(
      path: ["model", "unk_token"], by: "<none>")
    #expect(try !BPETokenizer(tokenizerJSON: pieces, source: "t").encode("\u{1F600}").isEmpty)
    let error = #expect(throws: TokenizerError.self) {
      let value = pieces.replacing(path: ["model", "byte_fallback"], by: false)
      return try BPETokenizer(tokenizerJSON: value, source: "t")
    }
    #expect(error?.description.contains("model.unk_token") == true)
    #expect(error?.description.contains("\"<none>\"") == true)
  }

  @Test func deepNestingIsRefusedAndShallowRead() throws {
    let whole = try Fixtures.json("qwen2.json")
    func nested(_ depth: Int) -> JSON {
      var value: JSON = ["type": "NFC"]
      for _ in 0..<depth { value = ["type": "Sequence", "normalizers": [value]] }
      return whole.replacing("normalizer", by: value)
    }
    let tokenizer = try BPETokenizer(tokenizerJSON: nested(8), source: "t")
    #expect(tokenizer.encode("e\u{301}") == tokenizer.encode("\u{E9}"))
    for depth in [9, 900] {
      #expect(throws: TokenizerError.self) {
        try BPETokenizer(tokenizerJSON: nested(depth), source: "t")
      }
    }
  }

  @Test func addedTokensThatNormalizeAlikeAreRefused() throws {
    let whole = try Fixtures.json("qwen2-strings.json")
    var tokens = try #require(whole["added_tokens"]?.elements)
    let last = try #require(tokens.last?["id"]?.integer)
    for (index, content) in ["o\u{308}o", "\u{F6}o"].enumerated() {
      tokens.append([
        "id": .integer(Int64(last + 1 + index)), "content": .string(content), "special": false,
        "normalized": true, "lstrip": false, "rstrip": false, "single_word": false,
      ])
    }
    #expect(throws: TokenizerError.self) {
      try BPETokenizer(
        tokenizerJSON: whole.replacing("added_tokens", by: .array(tokens)), source: "t")
    }
  }

  @Test(arguments: [JSON.null, true, 1, 1.5, "text", []])
  func otherValuesAreRefused(value: JSON) {
    #expect(throws: TokenizerError.self) {
      try BPETokenizer(tokenizerJSON: value, source: "tokenizer.json")
    }
  }
}
