import Comm
import Worker

/// Above this a term's gradient outweighs that of the pair loss (SAIL.md §9: T1/T2 is 0.5 to 1.4 at
/// a coefficient that costs reward, a few hundredths at the default).
private let saneNormRatio = 1.0

extension TrainingRun {
  /// Whether the norms of the gradient's terms are measured at a step, counted from 1.
  func isTermStep(_ number: Int) -> Bool {
    let every = configuration.sail.termNormsEvery
    let hasTerms = configuration.method == .sail || configuration.objective.revkl > 0
    return hasTerms && every > 0 && (number == 1 || number % every == 0)
  }

  /// The terms that a step's rows can have.
  func activeTerms(_ rows: StepRows) -> GradientTerms {
    var active: GradientTerms = []
    for row in rows.rows where !row.isDropped {
      let settings = objective(for: row.route)
      if settings.divergenceCoefficient != 0 { active.insert(.revkl) }
      if settings.responseCoefficient != 0, row.route.isOnline { active.insert(.t1) }
      switch row.label {
      case .given, .mostLikely: active.insert(.t2)
      case .expected: active.insert(.t3)
      case .sampled:
        active.insert(.t2)
        if settings.preferenceCoefficient != 0 { active.insert(.t3) }
      }
    }
    return active
  }

  /// Norm of each term's mean gradient: a forward and backward more for each; collective.
  ///
  /// A term that no row of the step has is 0.
  func termNorms(
    _ rows: StepRows, groups: [[Int]], communicator: borrowing Communicator
  ) throws -> [(name: String, norm: Double)] {
    let active = activeTerms(rows)
    var norms: [(name: String, norm: Double)] = []
    for (name, term) in GradientTerms.named {
      if term == .revkl, configuration.objective.revkl == 0 { continue }
      var norm = 0.0
      if active.contains(term) {
        try pairGradient(rows, groups: groups, terms: term, communicator: communicator)
        norm = try accumulatedNorm(communicator: communicator) / Double(configuration.batch.pairs)
      }
      norms.append((name, norm))
    }
    return norms
  }

  /// A sentence for each term that outweighs the pair loss, empty if none does.
  func termWarnings(_ norms: [(name: String, norm: Double)]) -> [String] {
    func norm(_ name: String) -> Double { norms.first { $0.name == name }?.norm ?? 0 }
    let pair = norm("t2")
    guard pair > 0 else { return [] }
    return [
      ("t1", "lower response_coefficient, or keep sail.baseline: leave-one-out"),
      ("t3", "lower preference_coefficient"), ("revkl", "lower objective.revkl"),
    ].compactMap { name, advice in
      let ratio = norm(name) / pair
      guard ratio > saneNormRatio else { return nil }
      return "the gradient's \(name) term is \((ratio * 10).rounded() / 10) times its pair loss "
        + "(sail/\(name)_norm over sail/t2_norm, sane up to \(saneNormRatio)); \(advice)"
    }
  }
}
