/// What an answer says, before it is put into words.
struct AnswerPlan: Sendable {
  var greeting: SentenceForm?
  var offer: SentenceForm?
  var items: [String]
  var count: SentenceForm?
  var number: Int
  var remarks: [(form: SentenceForm, item: String)] = []
  var closing: SentenceForm?
  /// Whether the offer is made twice.
  var isRepeated = false

  /// The answer as a completion: it begins with a space.
  func text(for request: Request) -> String {
    let words = Lexicon.domains[request.domain]
    var sentences: [String] = []
    if let greeting { sentences.append(greeting.filled()) }
    if let offer, !items.isEmpty {
      let sentence = offer.filled(thing: "\(words.thing) \(request.topic)", items: items)
      sentences += isRepeated ? [sentence, sentence] : [sentence]
    }
    if let count { sentences.append(count.filled(total: "\(number) \(words.units.total)")) }
    for remark in remarks { sentences.append(remark.form.filled(items: [remark.item])) }
    if let closing { sentences.append(closing.filled()) }
    return " " + sentences.joined(separator: " ")
  }
}

extension AnswerPlan {
  /// An answer of the behaviour policy: a mixture of careful and careless ones.
  init(behaviourFor request: Request, draws: inout Draws) {
    let care = draws.uniform()
    func between(_ careless: Double, _ careful: Double) -> Double {
      careless + (careful - careless) * care
    }

    let tones = [Tone.formal, .plain, .casual]
    let tone = draws.chance(between(0.35, 0.9)) ? request.tone : draws.pick(tones)
    func form(_ kind: SentenceKind, _ draws: inout Draws) -> SentenceForm {
      draws.pick(SentenceForm.forms(kind, draws.chance(0.15) ? draws.pick(tones) : tone))
    }

    let domainItems = Lexicon.domains[request.domain].items
    var named = request.items.filter { _ in draws.chance(between(0.6, 0.95)) }
    if named.isEmpty { named = [draws.pick(request.items)] }
    if draws.chance(0.1) { named = draws.shuffled(named) }
    if let priority = request.priority, let place = named.firstIndex(of: priority),
      draws.chance(between(0.1, 0.6))
    {
      named.insert(named.remove(at: place), at: 0)
    }
    for probability in [between(0.4, 0.03), 0.1] where draws.chance(probability) {
      let other = draws.pick(domainItems)
      if !named.contains(other) { named.insert(other, at: draws.index(named.count + 1)) }
    }
    items = named
    offer = form(.offer, &draws)
    isRepeated = draws.chance(between(0.1, 0))
    number = request.total
    if !draws.chance(between(0.55, 0.97)) {
      number = draws.chance(0.4) ? request.numbers[0] : request.total
      number += draws.chance(0.5) ? 1 : -1
    }
    if draws.chance(between(0.6, 0.85)) { count = form(.count, &draws) }
    if draws.chance(between(0.55, 0.5)) { greeting = form(.greeting, &draws) }
    if draws.chance(between(0.55, 0.5)) { closing = form(.closing, &draws) }
    let remarkCount =
      switch request.detail {
      case .brief: draws.weighted([0.5, 0.3, 0.2])
      case .usual: draws.weighted([0.35, 0.35, 0.2, 0.1])
      case .detailed: draws.weighted([0.3, 0.35, 0.25, 0.1])
      }
    for _ in 0..<remarkCount {
      let item = draws.pick(draws.chance(between(0.7, 0.98)) ? named : domainItems)
      remarks.append((form(.remark, &draws), item))
    }
  }
}
