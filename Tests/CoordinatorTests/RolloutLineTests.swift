import JSONText
import Model
import Testing

@testable import Coordinator

/// Pending completions as lines of a checkpoint.
@Suite struct RolloutLineTests {
  private static let pair = Rollout(
    step: 12, row: 3,
    completions: [
      Completion(
        tokens: [5, 0, 96], logProbability: -7.125, drawLogProbability: -6.1 / 3, isEnded: true),
      Completion(
        tokens: [7], logProbability: -1e-17, drawLogProbability: 0, isEnded: false),
    ], scores: [0.1 + 0.2, -4])
  private static let failed = Rollout(
    step: 0, row: 0, completions: pair.completions, scores: nil, failure: "no \"answer\"")
  private static let single = Rollout(
    step: 7, row: 40, completions: [pair.completions[0]], scores: nil)

  private func read(_ text: String) throws -> Rollout {
    try Rollout(JSON(parsing: Array(text.utf8)), place: "rollouts.jsonl:4", vocabularySize: 97)
  }

  @Test(arguments: [pair, failed, single])
  private func aLineReadsBackInEveryBit(_ rollout: Rollout) throws {
    let text = rollout.json.text
    #expect(!text.contains("\n"))
    let back = try read(text)
    #expect(back.step == rollout.step && back.row == rollout.row)
    #expect(back.scores == rollout.scores && back.failure == rollout.failure)
    #expect(back.completions.count == rollout.completions.count)
    for (found, expected) in zip(back.completions, rollout.completions) {
      #expect(found.tokens == expected.tokens && found.isEnded == expected.isEnded)
      #expect(found.logProbability == expected.logProbability)
      #expect(found.drawLogProbability == expected.drawLogProbability)
    }
  }

  /// A key's value replaced by another; an empty one takes the key out.
  @Test(arguments: [
    ("step", ""), ("step", "-1"), ("step", "1.5"), ("row", ""), ("row", "-1"), ("row", "null"),
    ("token_ids", ""), ("token_ids", "[]"), ("token_ids", "[[5, 0, 96]]"),
    ("token_ids", "[[5], []]"), ("token_ids", "[[5], [97]]"), ("token_ids", "[[5], [-1]]"),
    ("token_ids", "[[5], 7]"), ("token_ids", "[[5], [7, \"8\"]]"), ("token_ids", "[[5], [7.5, 8]]"),
    ("token_ids", "[[5], [4294967297]]"), ("logps", ""), ("logps", "[-1]"),
    ("logps", "[-1, true]"), ("logps", "[-1, -2, -3]"), ("generation_logps", ""),
    ("generation_logps", "[-1]"), ("generation_logps", "[-1, \"x\"]"), ("ended", ""),
    ("ended", "[true]"), ("ended", "[true, 1]"), ("scores", "[1]"), ("scores", "[1, null]"),
    ("scores", "[1, 2, 3]"), ("scores", "7"), ("failure", "0"), ("scores", "[1, 2, \"b\"]"),
  ])
  func aBrokenLineIsRefused(key: String, value: String) throws {
    var members = try #require(Self.pair.json.members)
    let index = try #require(members.firstIndex { $0.key == key })
    if value.isEmpty {
      members.remove(at: index)
    } else {
      members[index].value = try JSON(parsing: Array(value.utf8))
    }
    let error = #expect(throws: DataError.self) { _ = try read(JSON.object(members).text) }
    #expect(error?.description.hasPrefix("rollouts.jsonl:4: not a rollout of this model") == true)
  }

  @Test func whatIsNotFiniteComesBackUndefined() throws {
    var rollout = Self.single
    rollout.completions[0].logProbability = .infinity
    rollout.completions[0].drawLogProbability = .nan
    let back = try read(rollout.json.text).completions[0]
    #expect(back.logProbability.isNaN && back.drawLogProbability.isNaN)
  }

  @Test(arguments: ["[]", "7", "{}"])
  func somethingElseIsRefused(text: String) {
    #expect(throws: DataError.self) { _ = try read(text) }
  }

  @Test func aVocabularysLastTokenIsTaken() throws {
    let text = Self.single.json.text
    #expect(try read(text).completions[0].tokens.contains(96))
    #expect(throws: DataError.self) {
      _ = try Rollout(JSON(parsing: Array(text.utf8)), place: "x:1", vocabularySize: 96)
    }
  }
}
