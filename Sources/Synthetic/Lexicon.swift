/// One field of requests, such as trips: its words are its own.
struct Domain: Sendable {
  /// What is asked for, with the words that lead to the topic, such as "trip to".
  let thing: String
  /// The article before `thing` in a request.
  let article: String
  /// The verb of a request, such as "plan".
  let verb: String
  /// What the thing is about.
  let topics: [String]
  /// What the thing can have.
  let items: [String]
  /// The two kinds that a request counts and the kind of their sum.
  let units: (first: String, second: String, total: String)
}

/// Every word with a meaning; topics and items occur in one domain only.
enum Lexicon {
  static let domains: [Domain] = [
    Domain(
      thing: "trip to", article: "a", verb: "plan",
      topics: words("Rome Paris Lisbon Oslo Cairo Kyoto"),
      items: words(
        "museums markets beaches castles gardens bridges harbours theatres"
      ),
      units: ("adults", "children", "people")),
    Domain(
      thing: "recipe for", article: "a", verb: "write",
      topics: words("soup stew salad curry pasta pie"),
      items: words(
        "rice beans corn garlic onions carrots peppers mushrooms"),
      units: ("friends", "cousins", "portions")),
    Domain(
      thing: "service for the", article: "a", verb: "arrange",
      topics: words("bike car van boat truck tractor"),
      items: words(
        "brakes lights tyres chains engines doors mirrors seats"),
      units: ("mechanics", "trainees", "workers")),
    Domain(
      thing: "meeting about", article: "a", verb: "prepare",
      topics: words("budgets sales safety hiring travel research"),
      items: words(
        "slides charts notes demos figures reports videos samples"),
      units: ("managers", "clerks", "chairs")),
    Domain(
      thing: "order for the", article: "an", verb: "place",
      topics: words("office school clinic library hotel studio"),
      items: words(
        "pens paper tape folders lamps shelves desks clocks"),
      units: ("teams", "guests", "boxes")),
  ]

  /// The words of `Domain.thing` by domain.
  static let thingWords: [[String]] = domains.map { words($0.thing) }

  /// Where a topic belongs; looked up, never walked.
  static let domainOfTopic = index(domains.map(\.topics))
  /// Where an item belongs; looked up, never walked.
  static let domainOfItem = index(domains.map(\.items))
  /// Where a unit of a sum belongs; looked up, never walked.
  static let domainOfTotal = index(domains.map { [$0.units.total] })

  private static func index(_ lists: [[String]]) -> [String: Int] {
    var found: [String: Int] = [:]
    for (domain, list) in lists.enumerated() {
      for word in list { found[word] = domain }
    }
    return found
  }

  private static func words(_ text: String) -> [String] {
    text.split(separator: " ").map(String.init)
  }
}

/// The tokens of a text as the grammar sees them.
///
/// Runs of ASCII letters and digits, and single other bytes; white space only separates. Every byte
/// outside ASCII is a token that no rule knows.
func grammarTokens(of text: String) -> [String] {
  var tokens: [String] = []
  var word: [UInt8] = []
  func finishWord() {
    if !word.isEmpty { tokens.append(String(decoding: word, as: UTF8.self)) }
    word.removeAll(keepingCapacity: true)
  }
  for byte in text.utf8 {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      word.append(byte)
    case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"):
      finishWord()
    case 0..<0x80:
      finishWord()
      tokens.append(String(decoding: [byte], as: UTF8.self))
    default:
      finishWord()
      tokens.append("\u{FFFD}")
    }
  }
  finishWord()
  return tokens
}
