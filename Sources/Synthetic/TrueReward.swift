import Foundation

/// The qualities of an answer whose sum is its true reward.
///
/// Each is a gain (≥ 0), a loss (≤ 0) or both, each is bounded, and each is read from the text alone.
public struct TrueReward: Sendable, Equatable {
  /// Wanted items that are named: 0 … 2, with diminishing returns.
  public internal(set) var coverage = 0.0
  /// Items that nobody asked for: −2 … 0.
  public internal(set) var invention = 0.0
  /// The item wanted first is named first: 0 or 0.6.
  public internal(set) var priority = 0.0
  /// The thing and its topic: −0.5, 0 or 0.5.
  public internal(set) var topic = 0.0
  /// The number: −0.8 if wrong, 0 if absent, 1 if right; the mean if there are several.
  public internal(set) var number = 0.0
  /// The tone, the mean over the sentences: −0.9 … 0.9.
  public internal(set) var tone = 0.0
  /// A greeting at the start and a closing at the end: 0, 0.4 or 0.6.
  public internal(set) var courtesy = 0.0
  /// Remarks on wanted items, as far as the request wants detail: 0 … 0.7.
  public internal(set) var remarks = 0.0
  /// Distance from the wanted length: −2 … 0.
  public internal(set) var length = 0.0
  /// Words, sentences and items said again: −2.4 … 0.
  public internal(set) var repetition = 0.0
  /// Text outside the grammar, no end, wrong order of sentences: −4 … 0.
  public internal(set) var form = 0.0

  /// The sum of the qualities.
  public var sum: Double {
    coverage + invention + priority + topic + number + tone + courtesy + remarks + length
      + repetition + form
  }

  /// The true reward: the sum, bent below zero so that it stays above ``least``.
  public var total: Double { sum >= 0 ? sum : -TrueReward.least * tanh(sum / -TrueReward.least) }

  /// The bound from below, and the reward of everything said to a prompt that is no request.
  public static let least = -3.0

  /// Characters of the length that a request wants.
  static func wantedLength(_ detail: Detail) -> Double {
    switch detail {
    case .brief: 75
    case .usual: 105
    case .detailed: 160
    }
  }
}

extension TrueReward {
  /// The qualities of a completion as an answer to a request.
  public init(of completion: String, to request: Request) {
    let reading = AnswerReading(completion)
    let mentions = reading.sentences.flatMap(\.items)
    let strays = reading.strayTokens.filter { Lexicon.domainOfItem[$0] != nil }
    scoreItems(mentions: mentions, strays: strays, request: request)
    scoreFacts(reading, request: request)
    scoreManner(reading, request: request)
    length = TrueReward.lengthLoss(completion, wanted: TrueReward.wantedLength(request.detail))
    repetition = TrueReward.repetitionLoss(reading)
    form = TrueReward.formLoss(reading)
  }

  private mutating func scoreItems(mentions: [String], strays: [String], request: Request) {
    var credit = 0.0
    for item in request.items {
      // A wanted item outside any sentence counts little: naming words is not an answer.
      credit += mentions.contains(item) ? 1 : strays.contains(item) ? 0.3 : 0
    }
    let share = credit / Double(request.items.count)
    coverage = share * (3 - share)
    var invented: [String] = []
    for item in mentions + strays where !request.items.contains(item) {
      if !invented.contains(item) { invented.append(item) }
      if invented.count == 8 { break }
    }
    invention = -2 * (1 - exp(-0.35 * Double(invented.count)))
    if let wanted = request.priority, mentions.first == wanted { priority = 0.6 }
  }

  private mutating func scoreFacts(_ reading: AnswerReading, request: Request) {
    let offers = reading.sentences.filter { $0.kind == .offer }
    if !offers.isEmpty {
      topic = mean(offers.map { $0.topic == request.topic ? 0.5 : -0.5 })
    }
    let unit = Lexicon.domains[request.domain].units.total
    var marks = reading.sentences.filter { $0.kind == .count }.map { sentence in
      (sentence.number == request.total ? 1 : -0.8) - (sentence.unit == unit ? 0 : 0.4)
    }
    // Numbers outside any sentence can only harm.
    marks += reading.strayTokens.filter { $0.first?.isNumber ?? false }.map { _ in -0.8 }
    number = mean(marks)
  }

  private mutating func scoreManner(_ reading: AnswerReading, request: Request) {
    tone = mean(
      reading.sentences.map { 0.9 * Double(1 - abs($0.tone.rawValue - request.tone.rawValue)) })
    let isGreeted = reading.sentences.first?.kind == .greeting
    let isClosed = reading.sentences.last?.kind == .closing
    courtesy = isGreeted && isClosed ? 0.6 : isGreeted || isClosed ? 0.4 : 0
    var remarked: [String] = []
    for item in reading.sentences.filter({ $0.kind == .remark }).flatMap(\.items)
    where request.items.contains(item) && !remarked.contains(item) {
      remarked.append(item)
    }
    let most =
      switch request.detail {
      case .brief: 0.1
      case .usual: 0.3
      case .detailed: 0.7
      }
    remarks = most * [0, 0.6, 0.9, 1][min(3, remarked.count)]
  }

  private static func lengthLoss(_ completion: String, wanted: Double) -> Double {
    let count = max(1, completion.utf8.count - 1)
    let distance = log(Double(count) / wanted)
    return -2 * distance * distance / (distance * distance + 0.25)
  }

  private static func repetitionLoss(_ reading: AnswerReading) -> Double {
    var again = 0
    for kind in SentenceKind.allCases where kind != .remark {
      again += max(0, reading.sentences.filter { $0.kind == kind }.count - 1)
    }
    for sentence in reading.sentences {
      again += sentence.items.count - Set(sentence.items).count
    }
    let remarked = reading.sentences.filter { $0.kind == .remark }.flatMap(\.items)
    again += remarked.count - Set(remarked).count
    // Three tokens in a row that were there before.
    var seen: Set<[String]> = []
    for start in reading.tokens.indices.dropLast(2)
    where !seen.insert(Array(reading.tokens[start..<(start + 3)])).inserted {
      again += 1
    }
    return -2.4 * (1 - exp(-0.15 * Double(again)))
  }

  private static func formLoss(_ reading: AnswerReading) -> Double {
    guard !reading.tokens.isEmpty else { return -4 }
    let stray = Double(reading.strayTokens.count) / Double(reading.tokens.count)
    var misplaced = 0
    for (earlier, later) in zip(reading.sentences, reading.sentences.dropFirst())
    where earlier.kind.rawValue > later.kind.rawValue {
      misplaced += 1
    }
    return -2.5 * stray - (reading.isFinished ? 0 : 0.5) - min(1, 0.3 * Double(misplaced))
  }
}

/// The mean, 0 for none.
private func mean(_ values: [Double]) -> Double {
  values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
}
