extension AnswerPlan {
  /// The best answer that a local search finds, with its reward.
  ///
  /// Starts from the complete answer in the wanted tone, once for every count of remarks, and changes
  /// one part at a time as long as the true reward grows: a lower bound of the attainable optimum.
  static func best(for request: Request) -> (text: String, reward: Double) {
    var best = (text: "", reward: -Double.infinity)
    for remarkCount in 0...min(3, request.items.count) {
      var plan = complete(for: request, remarkCount: remarkCount)
      var text = plan.text(for: request)
      var reward = TrueReward(of: text, to: request).total
      var isBetter = true
      while isBetter {
        isBetter = false
        for changed in plan.neighbours(for: request) {
          let changedText = changed.text(for: request)
          let changedReward = TrueReward(of: changedText, to: request).total
          if changedReward > reward {
            (plan, text, reward, isBetter) = (changed, changedText, changedReward, true)
          }
        }
      }
      if reward > best.reward { best = (text, reward) }
    }
    return best
  }

  private static func complete(for request: Request, remarkCount: Int) -> AnswerPlan {
    var items = request.items
    if let priority = request.priority, let place = items.firstIndex(of: priority) {
      items.insert(items.remove(at: place), at: 0)
    }
    func first(_ kind: SentenceKind) -> SentenceForm? {
      SentenceForm.forms(kind, request.tone).first
    }
    var plan = AnswerPlan(
      greeting: first(.greeting), offer: first(.offer), items: items, count: first(.count),
      number: request.total, closing: first(.closing))
    let forms = SentenceForm.forms(.remark, request.tone)
    plan.remarks = items.prefix(remarkCount).enumerated().map { place, item in
      (forms[place % forms.count], item)
    }
    return plan
  }

  /// The plans that differ in one part.
  private func neighbours(for request: Request) -> [AnswerPlan] {
    var plans: [AnswerPlan] = []
    func add(_ change: (inout AnswerPlan) -> Void) {
      var plan = self
      change(&plan)
      plans.append(plan)
    }
    let forms = SentenceForm.all
    for form in forms {
      switch form.kind {
      case .greeting: add { $0.greeting = form }
      case .offer: add { $0.offer = form }
      case .count: add { $0.count = form }
      case .closing: add { $0.closing = form }
      case .remark:
        for place in remarks.indices { add { $0.remarks[place].form = form } }
      }
    }
    add { $0.greeting = nil }
    add { $0.count = nil }
    add { $0.closing = nil }
    for place in items.indices.dropFirst() {
      add { $0.items.remove(at: place) }
    }
    for place in remarks.indices {
      add { $0.remarks.remove(at: place) }
      for item in request.items { add { $0.remarks[place].item = item } }
    }
    return plans
  }
}
