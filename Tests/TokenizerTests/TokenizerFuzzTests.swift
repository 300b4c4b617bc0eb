import JSONText
import Testing

@testable import Tokenizer

/// Damaged files end in a thrown sentence, or in a tokenizer that works; never in a trap.
@Suite struct TokenizerFuzzTests {
  private struct Draws {
    var state: UInt64
    mutating func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
  }

  /// Small files, so that mutations hit every part of them.
  private func smallFile() -> JSON {
    BPETrainer.train(
      texts: ["ab abc é"], vocabularySize: 262, specialTokens: ["<|im_end|>", "e\u{301}"])
  }

  private func smallSentencePieceFile() throws -> JSON {
    var value = try Fixtures.json("llama.json")
    value = value.replacing(
      path: ["model", "vocab"], by: ["<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "▁a": 5])
    value = value.replacing(path: ["model", "merges"], by: [["▁", "a"]])
    let metaspace: JSON = [
      "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true,
    ]
    return value.replacing("pre_tokenizer", by: metaspace)
  }

  /// Reads bytes; true if they made a tokenizer.
  private func read(_ bytes: [UInt8]) -> Bool {
    do {
      let json = try JSON(parsing: bytes)
      let tokenizer = try BPETokenizer(tokenizerJSON: json, source: "tokenizer.json")
      let ids = tokenizer.encode("ab abc's é <|im_end|> \n\n 12\u{1F600}")
      _ = tokenizer.decode(ids + [-1, Int32.max])
      return true
    } catch let error as TokenizerError {
      #expect(error.description.hasPrefix("tokenizer.json"))
      return false
    } catch {
      return false
    }
  }

  @Test func truncatedFilesAreRefused() {
    let bytes = Array(smallFile().text.utf8)
    for length in stride(from: 0, to: bytes.count, by: 13) {
      #expect(!read(Array(bytes.prefix(length))))
    }
    #expect(read(bytes))
  }

  @Test func mutatedBytesNeverTrap() {
    let bytes = Array(smallFile().text.utf8)
    var draws = Draws(state: 11)
    var refused = 0
    for _ in 0..<300 {
      var mutated = bytes
      for _ in 0...draws.next(3) {
        mutated[draws.next(mutated.count)] = UInt8(draws.next(256))
      }
      if !read(mutated) { refused += 1 }
    }
    #expect(refused > 100)
  }

  @Test func replacedValuesNeverTrap() throws {
    var draws = Draws(state: 5)
    for whole in [smallFile(), try smallSentencePieceFile()] {
      var refused = 0
      for _ in 0..<400 {
        if !read(Array(mutate(whole, &draws).text.utf8)) { refused += 1 }
      }
      #expect(refused > 100)
      #expect(read(Array(whole.text.utf8)))
    }
  }

  @Test func randomBytesAreRefused() {
    var draws = Draws(state: 3)
    for length in 0..<100 {
      #expect(!read((0..<length).map { _ in UInt8(draws.next(256)) }))
    }
  }

  /// A value with one of its parts replaced, removed or doubled.
  private func mutate(_ value: JSON, _ draws: inout Draws) -> JSON {
    let replacements: [JSON] = [
      .null, true, false, 0, -1, 255, 2_147_483_647, 9_223_372_036_854_775_807, 1e300, "", "a",
      " ", "e\u{301}", "ByteLevel", "Sequence", "TemplateProcessing", "Metaspace",
      "Replace", "Strip", "▁", [], ["a", "b"], .object([]),
      ["type": "Sequence"],
    ]
    if draws.next(5) == 0 { return replacements[draws.next(replacements.count)] }
    switch value {
    case .object(var members) where !members.isEmpty:
      let index = draws.next(members.count)
      if draws.next(6) == 0 {
        members.remove(at: index)
      } else {
        members[index].value = mutate(members[index].value, &draws)
      }
      return .object(members)
    case .array(var elements) where !elements.isEmpty:
      let index = draws.next(elements.count)
      switch draws.next(6) {
      case 0: elements.remove(at: index)
      case 1: elements.append(elements[index])
      default: elements[index] = mutate(elements[index], &draws)
      }
      return .array(elements)
    default: return replacements[draws.next(replacements.count)]
    }
  }
}
