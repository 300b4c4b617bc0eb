import Testing

@testable import Synthetic

/// Hand-made answers to one hand-made request.
@Suite struct TrueRewardTests {
  static let prompt =
    "Please plan a trip to Rome with museums, markets and gardens, above all markets, for 2 adults "
    + "and 3 children. Be formal.\nAnswer:"
  static let good =
    " Good afternoon. Your trip to Rome will include markets, museums and gardens. It is arranged "
    + "for 5 people."

  private func parts(_ completion: String) throws -> TrueReward {
    TrueReward(of: completion, to: try #require(Request(prompt: Self.prompt)))
  }

  private func reward(_ completion: String) -> Double {
    SyntheticTask.reward(prompt: Self.prompt, completion: completion)
  }

  @Test func aGoodAnswerGetsWhatTheQualitiesPromise() throws {
    let parts = try parts(Self.good)
    #expect(parts.coverage == 2)
    #expect(parts.invention == 0)
    #expect(parts.priority == 0.6)
    #expect(parts.topic == 0.5)
    #expect(parts.number == 1)
    #expect(abs(parts.tone - 0.9) < 1e-12)
    #expect(parts.courtesy == 0.4)
    #expect(parts.remarks == 0)
    #expect(parts.repetition == 0)
    #expect(parts.form == 0)
    // It has the 105 characters that are wanted.
    #expect(parts.length == 0)
    #expect(abs(parts.total - 5.4) < 1e-12)
  }

  /// One part of the good answer spoiled, and the quality that must pay for it.
  @Test(arguments: [
    ("markets, museums and gardens", "markets and museums", "coverage"),
    ("markets, museums and gardens", "markets, museums, gardens and castles", "invention"),
    ("markets, museums and gardens", "museums, markets and gardens", "priority"),
    ("trip to Rome", "trip to Paris", "topic"),
    ("trip to Rome", "recipe for soup", "topic"),
    ("5 people", "6 people", "number"),
    ("5 people", "5 boxes", "number"),
    (" It is arranged for 5 people.", "", "number"),
    ("It is arranged for", "It is for", "tone"),
    ("Good afternoon.", "Hey!", "tone"),
    (" Good afternoon.", "", "courtesy"),
    ("people.", "people. It is arranged for 5 people.", "repetition"),
    ("markets, museums", "markets, markets, museums", "repetition"),
    ("Your trip to Rome will include", "Your will trip include to Rome", "form"),
    ("markets, museums and gardens", "markets museums gardens", "form"),
    ("5 people.", "5 people", "form"),
    (" Good afternoon.", " Kind regards.", "form"),
  ])
  func everyFaultIsPaidFor(part: String, replacement: String, quality: String) throws {
    let range = try #require(Self.good.firstRange(of: part))
    var spoiled = Self.good
    spoiled.replaceSubrange(range, with: replacement)
    let (before, after) = (try parts(Self.good), try parts(spoiled))
    let change: (TrueReward) -> Double = { parts in
      switch quality {
      case "coverage": parts.coverage
      case "invention": parts.invention
      case "priority": parts.priority
      case "topic": parts.topic
      case "number": parts.number
      case "tone": parts.tone
      case "courtesy": parts.courtesy
      case "repetition": parts.repetition
      default: parts.form
      }
    }
    #expect(change(after) < change(before), "\(quality) of \(spoiled)")
    #expect(after.total < before.total, "\(spoiled)")
  }

  /// 75, 105 and 160 characters are wanted: −2 d² / (d² + 1/4) with d = ln(characters / wanted).
  @Test func lengthCountsAsARatio() throws {
    let twice = try parts(" " + String(repeating: "x", count: 210))
    let half = try parts(" " + String(repeating: "x", count: 52) + "é")
    // d = ln 2 is d² = 0.480453, −2 · 0.480453 / 0.730453; ln(54/105)² = 0.442193.
    #expect(abs(twice.length - -1.315494) < 1e-5)
    #expect(abs(half.length - -1.277659) < 1e-5)
    #expect(try parts("").length > -2)
  }

  @Test func coverageHasDiminishingReturns() throws {
    let gains = try ["castles", "markets", "markets and museums", "markets, museums and gardens"]
      .map {
        try parts(" Your trip to Rome will include \($0).").coverage
      }
    #expect(gains[0] == 0)
    #expect(gains[1] - gains[0] > gains[2] - gains[1])
    #expect(gains[2] - gains[1] > gains[3] - gains[2])
    #expect(gains[3] > gains[2])
  }

  /// Courtesy costs length: it is worth its characters to a usual request, not to every brief one.
  @Test func qualitiesConflict() throws {
    let closed = Self.good + " We remain at your service."
    #expect(try parts(closed).courtesy > parts(Self.good).courtesy)
    let brief = Self.prompt.replacing("formal.", with: "formal and brief.")
    #expect(
      SyntheticTask.reward(prompt: brief, completion: closed)
        < SyntheticTask.reward(prompt: brief, completion: Self.good))
  }

  @Test(arguments: [
    "", " ", ".", "...", "\n\n\n", "markets museums gardens", "5", " 5 5 5 5 5 5",
    "markets, museums and gardens, 5 people, formal, markets, museums and gardens.",
    String(repeating: " markets", count: 400), String(repeating: " Good afternoon.", count: 60),
    String(repeating: " Your trip to Rome will include markets, museums and gardens.", count: 20),
    String(repeating: good, count: 10),
    String(repeating: "Kindly allow time for markets. ", count: 9),
    "\u{0}\u{FFFD}é日本語🙂", "\u{212A}ind regards.", "9999999999999999999999 people.",
    prompt + good + good,
  ])
  func degenerateTextLosesToAnyHonestAnswer(text: String) {
    let honest = reward(" The trip to Rome has museums and gardens.")
    #expect(reward(text) < honest, "\(text.prefix(60))")
    #expect(reward(text) > TrueReward.least)
  }

  @Test(arguments: [1, 2, 3, 5, 10])
  func addingAnythingTwiceDoesNotPay(count: Int) {
    for sentence in [
      " Kindly allow time for markets.", " It is arranged for 5 people.", " Kind regards.",
      " Good afternoon.", " Your trip to Rome will include markets, museums and gardens.",
    ] {
      let once = reward(Self.good + sentence)
      #expect(reward(Self.good + sentence + String(repeating: sentence, count: count)) < once)
    }
  }

  /// Random texts of words of the grammar, marks and bytes: always finite, never above a good answer.
  @Test func anyTextHasAFiniteReward() {
    let words =
      SentenceForm.all.flatMap { grammarTokens(of: $0.text) }
      + Lexicon.domains.flatMap { $0.items + $0.topics + [$0.thing, $0.units.total] }
      + ["5", "99999999999999999999", ",", ".", "!", "?", "\n", "é", "\u{0}", "<|im_end|>", ""]
    var draws = Draws(.init(seed: 3, purpose: .synthetic), stream: .answer, key: 1)
    for _ in 0..<300 {
      let text = (0..<draws.index(40)).map { _ in draws.pick(words) }.joined(separator: " ")
      let value = reward(text)
      #expect(value.isFinite && value >= TrueReward.least && value < 3, "\(value): \(text)")
    }
  }

  @Test(arguments: [
    "", "Hello", "\nAnswer:", "Please plan a trip to Rome.\nAnswer:",
    prompt.replacing("\nAnswer:", with: ""), prompt.replacing("Rome", with: "Rome and Paris"),
    prompt.replacing("museums", with: "brakes"),
    prompt.replacing("2 adults", with: "adults")
      .replacing("3 children", with: "children"), prompt + " ",
    prompt.replacing("formal", with: "formal and casual"),
    prompt.replacing("museums", with: "gardens"),
    prompt.replacing("above all markets", with: "above all castles"),
    String(repeating: "x", count: 100_000) + "\nAnswer:",
  ])
  func everyAnswerToNoRequestIsATie(prompt: String) {
    #expect(Request(prompt: prompt) == nil)
    #expect(SyntheticTask.reward(prompt: prompt, completion: Self.good) == TrueReward.least)
    #expect(SyntheticTask.reward(prompt: prompt, completion: "") == TrueReward.least)
  }
}
