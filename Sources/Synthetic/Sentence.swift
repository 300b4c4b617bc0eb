/// What a sentence of an answer is for, in the order in which they should come.
enum SentenceKind: Int, Sendable, CaseIterable {
  case greeting = 0
  case offer = 1
  case count = 2
  case remark = 3
  case closing = 4
}

/// A form of sentence: words and slots.
struct SentenceForm: Sendable {
  /// A word or mark, or a slot.
  enum Part: Sendable, Equatable {
    case word(String)
    /// The thing with its topic, such as "trip to Rome".
    case thing
    /// A list of items.
    case items
    /// One item.
    case item
    /// A number and its unit.
    case total
  }

  let kind: SentenceKind
  let tone: Tone
  /// The text, with slots as in `{thing}`.
  let text: String
  let parts: [Part]

  init(_ kind: SentenceKind, _ tone: Tone, _ text: String) {
    self.kind = kind
    self.tone = tone
    self.text = text
    let slots: [String: Part] = [
      "THING": .thing, "ITEMS": .items, "ITEM": .item, "TOTAL": .total,
    ]
    parts = grammarTokens(of: text).map { slots[$0] ?? .word($0) }
  }

  /// The sentence with its slots filled.
  func filled(thing: String = "", items: [String] = [], total: String = "") -> String {
    var out: [String] = []
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
      // A slot may carry a mark, as in "ITEMS!".
      let slot = word.prefix { $0.isUppercase }
      let filling: String? =
        switch slot {
        case "THING": thing
        case "ITEMS", "ITEM": joined(items)
        case "TOTAL": total
        default: nil
        }
      out.append(filling.map { $0 + word.dropFirst(slot.count) } ?? String(word))
    }
    return out.joined(separator: " ")
  }

  /// Every form of the grammar.
  static let all: [SentenceForm] = [
    SentenceForm(.greeting, .formal, "Good day to you."),
    SentenceForm(.greeting, .formal, "Good afternoon."),
    SentenceForm(.greeting, .plain, "Hello."),
    SentenceForm(.greeting, .plain, "Welcome back."),
    SentenceForm(.greeting, .casual, "Hi there!"),
    SentenceForm(.greeting, .casual, "Hey!"),
    SentenceForm(.offer, .formal, "We are pleased to confirm your THING with ITEMS."),
    SentenceForm(.offer, .formal, "Your THING will include ITEMS."),
    SentenceForm(.offer, .plain, "Here is your THING with ITEMS."),
    SentenceForm(.offer, .plain, "The THING has ITEMS."),
    SentenceForm(.offer, .casual, "So your THING gets ITEMS!"),
    SentenceForm(.offer, .casual, "We got ITEMS for your THING!"),
    SentenceForm(.count, .formal, "It is arranged for TOTAL."),
    SentenceForm(.count, .formal, "Provision is made for TOTAL."),
    SentenceForm(.count, .plain, "It is for TOTAL."),
    SentenceForm(.count, .plain, "That makes TOTAL."),
    SentenceForm(.count, .casual, "That works for TOTAL!"),
    SentenceForm(.count, .casual, "All good for TOTAL!"),
    SentenceForm(.remark, .formal, "Kindly allow time for ITEM."),
    SentenceForm(.remark, .formal, "We advise care with ITEM."),
    SentenceForm(.remark, .plain, "Leave time for ITEM."),
    SentenceForm(.remark, .plain, "Look at ITEM twice."),
    SentenceForm(.remark, .casual, "Do not miss ITEM!"),
    SentenceForm(.remark, .casual, "You will love ITEM!"),
    SentenceForm(.closing, .formal, "Kind regards."),
    SentenceForm(.closing, .formal, "We remain at your service."),
    SentenceForm(.closing, .plain, "Thank you."),
    SentenceForm(.closing, .plain, "All the best."),
    SentenceForm(.closing, .casual, "Cheers!"),
    SentenceForm(.closing, .casual, "Have fun!"),
  ]

  /// The forms of one kind and tone.
  static func forms(_ kind: SentenceKind, _ tone: Tone) -> [SentenceForm] {
    all.filter { $0.kind == kind && $0.tone == tone }
  }
}
