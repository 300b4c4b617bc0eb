/// How an answer should sound.
public enum Tone: Int, Sendable, CaseIterable {
  /// As a clerk writes.
  case formal = 1
  /// Neither; what a request without a word on tone wants.
  case plain = 0
  /// As a friend writes.
  case casual = -1
}

/// How much an answer should say.
public enum Detail: Int, Sendable, CaseIterable {
  /// As little as will do.
  case brief = 0
  /// What a request without a word on length wants.
  case usual = 1
  /// Remarks on single items are welcome.
  case detailed = 2
}

/// A request: what its prompt asks for.
public struct Request: Sendable, Equatable {
  /// The text, ending in ``marker``.
  public let prompt: String
  /// The field: an index into the grammar's five domains.
  public let domain: Int
  /// What the thing is about, such as "Rome".
  public let topic: String
  /// The two to four items that the answer should name, in the order of the prompt.
  public let items: [String]
  /// The item that should come first, if the prompt says so.
  public let priority: String?
  /// The wanted tone.
  public let tone: Tone
  /// The wanted length.
  public let detail: Detail
  /// One number to repeat, or two to add.
  public let numbers: [Int]

  /// What every prompt ends in; a completion begins with a space.
  public static let marker = "\nAnswer:"

  /// The number that an answer should state.
  public var total: Int { numbers.reduce(0, &+) }
}

extension Request {
  /// A random request.
  init(draws: inout Draws) {
    domain = draws.index(Lexicon.domains.count)
    let words = Lexicon.domains[domain]
    topic = draws.pick(words.topics)
    let itemCount = 2 + draws.weighted([0.35, 0.4, 0.25])
    items = Array(draws.shuffled(words.items).prefix(itemCount))
    priority = draws.chance(0.5) ? draws.pick(Array(items.dropFirst())) : nil
    tone = draws.pick([Tone.formal, .plain, .casual])
    detail = draws.pick([Detail.brief, .usual, .detailed])
    numbers =
      draws.chance(0.5)
      ? [2 + draws.index(9)] : [2 + draws.index(5), 2 + draws.index(5)]

    let thing = "\(words.article) \(words.thing) \(topic)"
    let (opening, end) = draws.pick([
      ("Please \(words.verb) \(thing)", "."), ("I need \(thing)", "."),
      ("Can you \(words.verb) \(thing)", "?"),
    ])
    var text = opening + " with " + joined(items)
    if let priority { text += ", above all \(priority)," }
    text += " for \(numbers[0]) "
    if numbers.count == 2 {
      text += "\(words.units.first) and \(numbers[1]) \(words.units.second)"
    } else {
      text += words.units.total
    }
    text += end
    let style =
      (tone == .plain ? [] : ["\(tone)"]) + (detail == .usual ? [] : ["\(detail)"])
    if !style.isEmpty {
      text += draws.chance(0.5) ? " Be " : " Keep it "
      text += style.joined(separator: " and ") + "."
    }
    prompt = text + Request.marker
  }

  /// Reads a request back from its prompt; nil if the text is not one of the grammar's prompts.
  ///
  /// The words decide, not their order: one topic, two to four different items of its domain, one or
  /// two numbers up to 99, at most one word on tone and on length, ``marker`` at the end.
  public init?(prompt: String) {
    guard prompt.utf8.count <= 2048, prompt.hasSuffix(Request.marker) else { return nil }
    var topics: [String] = []
    var items: [String] = []
    var priority: String?
    var tones: [Tone] = []
    var details: [Detail] = []
    var numbers: [Int] = []
    var isPriority = false
    for word in grammarTokens(of: prompt) {
      if Lexicon.domainOfTopic[word] != nil { topics.append(word) }
      if Lexicon.domainOfItem[word] != nil {
        if isPriority { priority = word } else { items.append(word) }
        isPriority = false
      }
      if word.utf8.count <= 2, let number = Int(word) { numbers.append(number) }
      switch word {
      case "above": isPriority = true
      case "formal": tones.append(.formal)
      case "casual": tones.append(.casual)
      case "brief": details.append(.brief)
      case "detailed": details.append(.detailed)
      default: break
      }
    }
    guard topics.count == 1, let domain = Lexicon.domainOfTopic[topics[0]],
      (2...4).contains(items.count), Set(items).count == items.count,
      items.allSatisfy({ Lexicon.domainOfItem[$0] == domain }),
      priority.map(items.contains) ?? true, (1...2).contains(numbers.count),
      tones.count <= 1, details.count <= 1
    else { return nil }
    self.prompt = prompt
    self.domain = domain
    topic = topics[0]
    self.items = items
    self.priority = priority
    tone = tones.first ?? .plain
    detail = details.first ?? .usual
    self.numbers = numbers
  }
}

/// A list in words: "a", "a and b", "a, b and c".
func joined(_ items: [String]) -> String {
  guard let last = items.last, items.count > 1 else { return items.first ?? "" }
  return items.dropLast().joined(separator: ", ") + " and " + last
}
