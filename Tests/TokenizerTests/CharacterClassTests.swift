import JSONText
import Testing

@testable import Tokenizer

/// Character classes and form C against Hugging Face's regular expressions (classes.json).
@Suite struct CharacterClassTests {
  /// The planes with assigned characters; the others have none.
  private static let codePoints = [0..<0xD800, 0xE000..<0x33480, 0xE0000..<0xE0200].joined()

  @Test(arguments: ["letters", "numbers", "spaces", "words"])
  func classesEqualHuggingFace(name: String) throws {
    var isMember = [Bool](repeating: false, count: 0x110000)
    for range in try #require(Fixtures.json("classes.json")[name]?.elements) {
      let ends = range.ids.map(Int.init)
      for codePoint in ends[0]...ends[1] { isMember[codePoint] = true }
    }
    var differing: [Int] = []
    for codePoint in CharacterClassTests.codePoints {
      let value = UInt32(codePoint)
      let found =
        switch name {
        case "letters": CharacterClass(value) == .letter
        case "numbers": CharacterClass(value) == .number
        case "spaces": CharacterClass.isWhitespace(value)
        default: CharacterClass.isWordCharacter(value)
        }
      if found != isMember[codePoint] { differing.append(codePoint) }
    }
    #expect(differing.isEmpty, "\(differing.prefix(10).map { String($0, radix: 16) })")
  }

  @Test func formCEqualsHuggingFace() throws {
    for pair in try #require(Fixtures.json("classes.json")["composed"]?.elements) {
      let codePoint = UInt32(try #require(pair.elements?[0].integer))
      let expected = try #require(pair.elements?[1].string)
      let text = String(Character(try #require(Unicode.Scalar(codePoint))))
      #expect(Normalization.composed(Array(text.utf8)) == Array(expected.utf8))
      #expect(!Normalization.isStable(codePoint))
    }
  }

  @Test func stableCharactersAreStarters() {
    for codePoint in CharacterClassTests.codePoints where Normalization.isStable(UInt32(codePoint))
    {
      guard let scalar = Unicode.Scalar(UInt32(codePoint)) else { continue }
      #expect(scalar.properties.canonicalCombiningClass == .notReordered)
    }
  }
}
