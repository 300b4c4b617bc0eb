/// A sentence of the grammar found in a text, with what its slots hold.
struct Sentence {
  let kind: SentenceKind
  let tone: Tone
  var domain: Int?
  var topic: String?
  var items: [String] = []
  var number: Int?
  var unit: String?
}

/// An answer taken apart: any text can be read, and what the grammar doesn't know is counted.
struct AnswerReading {
  /// The sentences of the grammar, in order.
  private(set) var sentences: [Sentence] = []
  /// The tokens outside of them, in order.
  private(set) var strayTokens: [String] = []
  /// All tokens, in order.
  let tokens: [String]

  init(_ text: String) {
    tokens = grammarTokens(of: text)
    var start = 0
    while start < tokens.count {
      let rest = tokens[start...]
      let end = rest.firstIndex(where: AnswerReading.endsSentence) ?? tokens.count - 1
      if let sentence = AnswerReading.match(tokens[start...end]) {
        sentences.append(sentence)
      } else {
        strayTokens += tokens[start...end]
      }
      start = end + 1
    }
  }

  /// Whether the text ends as a sentence does.
  var isFinished: Bool { tokens.last.map(AnswerReading.endsSentence) ?? false }

  private static func endsSentence(_ token: String) -> Bool {
    token == "." || token == "!" || token == "?"
  }

  private static func match(_ tokens: ArraySlice<String>) -> Sentence? {
    // The longest sentence has four items and 19 tokens; lists may be longer in bad answers.
    guard tokens.count <= 64 else { return nil }
    for form in SentenceForm.all {
      var reader = SlotReader(
        rest: tokens, sentence: Sentence(kind: form.kind, tone: form.tone))
      if form.parts.allSatisfy({ reader.read($0) }), reader.rest.isEmpty {
        return reader.sentence
      }
    }
    return nil
  }
}

/// Reads the parts of one form from the left.
private struct SlotReader {
  var rest: ArraySlice<String>
  var sentence: Sentence

  mutating func read(_ part: SentenceForm.Part) -> Bool {
    switch part {
    case .word(let word): return readWord(word)
    case .thing: return readThing()
    case .item: return readItem()
    case .items: return readItems()
    case .total: return readTotal()
    }
  }

  private mutating func readWord(_ word: String) -> Bool {
    guard rest.first == word else { return false }
    rest.removeFirst()
    return true
  }

  private mutating func readThing() -> Bool {
    guard let domain = Lexicon.thingWords.firstIndex(where: { rest.starts(with: $0) }) else {
      return false
    }
    rest = rest.dropFirst(Lexicon.thingWords[domain].count)
    guard let topic = rest.popFirst(), Lexicon.domainOfTopic[topic] == domain else { return false }
    sentence.domain = domain
    sentence.topic = topic
    return true
  }

  private mutating func readItem() -> Bool {
    guard let item = rest.first, Lexicon.domainOfItem[item] != nil else { return false }
    rest.removeFirst()
    sentence.items.append(item)
    return true
  }

  private mutating func readItems() -> Bool {
    guard readItem() else { return false }
    while readWord(",") {
      guard readItem() else { return false }
    }
    if readWord("and") { return readItem() }
    // A list of several ends in "and".
    return sentence.items.count == 1
  }

  private mutating func readTotal() -> Bool {
    guard rest.count >= 2, let word = rest.popFirst(), word.utf8.count <= 3,
      let number = Int(word), let unit = rest.popFirst(), Lexicon.domainOfTotal[unit] != nil
    else { return false }
    sentence.number = number
    sentence.unit = unit
    return true
  }
}
