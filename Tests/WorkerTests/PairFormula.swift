import Glibc

@testable import Worker

/// The terms of a pair's loss, written a second time from SAIL.md §3–5 as plain functions.
///
/// What a term stops the gradient of is a number here, taken where the formula was made.
struct PairFormula {
  let objective: PairObjective
  let label: PairLabel
  let weight: Double
  /// V where the formula was made.
  let value: Double
  /// What T1 multiplies log π of the two responses with.
  private let score: (first: Double, second: Double)

  init(
    _ objective: PairObjective, label: PairLabel, baseline: Double, weight: Double,
    at logs: PairLogs
  ) {
    self.objective = objective
    self.label = label
    self.weight = weight
    value = PairFormula.value(objective, label, logs)
    let coefficient = objective.responseCoefficient
    switch objective.responseEstimator {
    case .score:
      score = (coefficient * (value - baseline), coefficient * (value - baseline))
    case .released(let scale):
      func divisor(_ log: Double) -> Double { log > -1 ? -1 : log }
      score = (
        coefficient * scale * value / divisor(logs.first),
        coefficient * scale * value / divisor(logs.second)
      )
    }
  }

  /// − sg(…) (lp₁ + lp₂), each response with its own factor.
  func t1(_ logs: PairLogs) -> Double {
    -weight * (score.first * logs.first + score.second * logs.second)
  }

  /// The loss at the label.
  func t2(_ logs: PairLogs) -> Double {
    let margin = PairFormula.margin(objective, logs)
    switch label {
    case .given(let p):
      let first = objective.labelSmoothing * (1 - p) + (1 - objective.labelSmoothing) * p
      return weight * (first * loss(margin) + (1 - first) * loss(-margin))
    case .sampled: return -weight * logLabel(margin)
    case .expected: return 0
    case .mostLikely: return weight * loss(abs(margin))
    }
  }

  /// What the label's own probability adds: −(c/2) F², or c H in expectation.
  func t3(_ logs: PairLogs) -> Double {
    let margin = PairFormula.margin(objective, logs)
    switch label {
    case .given, .mostLikely: return 0
    case .sampled:
      return -weight * objective.preferenceCoefficient / 2 * logLabel(margin) * logLabel(margin)
    case .expected:
      return weight * objective.preferenceCoefficient * entropy(margin, objective.link)
    }
  }

  /// All of it.
  func sum(_ logs: PairLogs) -> Double { t1(logs) + t2(logs) + t3(logs) }

  private func loss(_ margin: Double) -> Double { PairFormula.loss(objective, margin) }

  /// F of a drawn label: the first response's if the draw is 0.
  private func logLabel(_ margin: Double) -> Double {
    label == .drawnFirst
      ? logPreference(margin, objective.link) : logPreference(-margin, objective.link)
  }

  /// V: the mean of F over the label.
  private static func value(
    _ objective: PairObjective, _ label: PairLabel, _ logs: PairLogs
  ) -> Double {
    let margin = margin(objective, logs)
    switch label {
    case .given(let p):
      let smoothed = p + objective.labelSmoothing * (1 - 2 * p)
      return -smoothed * loss(objective, margin) - (1 - smoothed) * loss(objective, -margin)
    case .sampled:
      return logPreference(label == .drawnFirst ? margin : -margin, objective.link)
    case .expected: return -entropy(margin, objective.link)
    case .mostLikely: return -loss(objective, abs(margin))
    }
  }

  private static func margin(_ objective: PairObjective, _ logs: PairLogs) -> Double {
    let first = logs.first - logs.referenceFirst
    let second = logs.second - logs.referenceSecond
    switch objective.loss {
    case .sigmoid, .hinge: return objective.beta * (first - second)
    case .ipo: return first - second
    case .ipoMean: return first / Double(logs.firstCount) - second / Double(logs.secondCount)
    }
  }

  private static func loss(_ objective: PairObjective, _ margin: Double) -> Double {
    switch objective.loss {
    case .sigmoid: return -logPreference(margin, objective.link)
    case .ipo, .ipoMean: return pow(margin - 0.5 / objective.beta, 2)
    case .hinge: return max(0, 1 - margin)
    }
  }
}

/// log G(u), plainly; for |u| up to 30.
func logPreference(_ u: Double, _ link: PreferenceLink) -> Double {
  switch link {
  case .logistic: -log1p(exp(-u))
  case .probit:
    u > 0 ? log1p(-erfc(u * 0.5.squareRoot()) / 2) : log(erfc(-u * 0.5.squareRoot()) / 2)
  }
}

/// Entropy of a label that is "first" with probability G(u).
func entropy(_ u: Double, _ link: PreferenceLink) -> Double {
  let logs = [logPreference(u, link), logPreference(-u, link)]
  return -logs.reduce(0) { $0 + exp($1) * $1 }
}
