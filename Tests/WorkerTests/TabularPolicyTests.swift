import Glibc
import Testing

@testable import Worker

/// A policy over four responses to one prompt, π = softmax(θ): everything can be enumerated.
private struct TabularPolicy: Sendable {
  static let count = 4
  static let beta = 0.7
  static let reference = [0.4, 0.1, 0.2, 0.3].map { log($0) }
  /// An oracle's scores; responses 1 and 3 are a tie.
  static let scores = [0.3, 1.1, -0.4, 1.1]

  var parameters: [Double]

  var logProbabilities: [Double] {
    let normalizer = log(parameters.reduce(0) { $0 + exp($1) })
    return parameters.map { $0 - normalizer }
  }

  func logs(_ first: Int, _ second: Int) -> PairLogs {
    let p = logProbabilities
    return PairLogs(
      first: p[first], second: p[second], referenceFirst: Self.reference[first],
      referenceSecond: Self.reference[second])
  }

  func logit(_ first: Int, _ second: Int) -> Double {
    logs(first, second).preferenceLogit(beta: Self.beta)
  }

  /// J(θ), summed over all response pairs with their probability.
  func mean(_ value: (_ first: Int, _ second: Int, _ u: Double) -> Double) -> Double {
    let p = logProbabilities
    var sum = 0.0
    for first in 0..<Self.count {
      for second in 0..<Self.count {
        sum += exp(p[first] + p[second]) * value(first, second, logit(first, second))
      }
    }
    return sum
  }

  /// Σ d · ∂ log π(response)/∂θ, added.
  func add(_ derivative: Double, response: Int, to gradient: inout [Double]) {
    let p = logProbabilities
    for index in 0..<Self.count {
      gradient[index] += derivative * ((index == response ? 1 : 0) - exp(p[index]))
    }
  }

  /// Slopes of a function of θ, by central differences of fourth order.
  func slopes(_ objective: (TabularPolicy) -> Double) -> [Double] {
    (0..<Self.count).map { index in
      func at(_ shift: Double) -> Double {
        var other = self
        other.parameters[index] += shift
        return objective(other)
      }
      let step = 1e-3
      return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    }
  }
}

private let policies = [
  TabularPolicy(parameters: TabularPolicy.reference),
  TabularPolicy(parameters: [0.3, -1.2, 0.8, 0.1]),
  TabularPolicy(parameters: [-2, 1.5, 0.4, -0.6]),
]

/// A variant of an online row: its labels with their probabilities, and V(u) of its objective.
private struct Variant: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let preference: Double
  let labels: @Sendable (_ first: Int, _ second: Int, _ u: Double) -> [(PairLabel, Double)]
  let value: @Sendable (_ first: Int, _ second: Int, _ u: Double) -> Double
}

private func negativeEntropy(_ u: Double) -> Double {
  let q = 1 / (1 + exp(-u))
  return q * log(q) + (1 - q) * log(1 - q)
}

private func preferenceOfScores(_ first: Int, _ second: Int) -> Double {
  let scores = TabularPolicy.scores
  if scores[first] == scores[second] { return 0.5 }
  return scores[first] > scores[second] ? 1 : 0
}

private func oracleValue(_ p: Double, _ u: Double) -> Double {
  -p * log(1 + exp(-u)) - (1 - p) * log(1 + exp(u))
}

private let selfLabelled = [
  Variant(
    testDescription: "DPP, expected", preference: 1, labels: { _, _, _ in [(.expected, 1)] },
    value: { negativeEntropy($2) }),
  Variant(
    testDescription: "DPP, drawn", preference: 1,
    labels: { _, _, u in
      let q = 1 / (1 + exp(-u))
      return [(.sampled(uniform: 0), q), (.sampled(uniform: 1 - 0x1p-53), 1 - q)]
    }, value: { negativeEntropy($2) }),
]

private let likelier = Variant(
  testDescription: "DPP, likelier", preference: 0, labels: { _, _, _ in [(.mostLikely, 1)] },
  value: { -log(1 + exp(-abs($2))) })

private let oracleLabelled = [
  Variant(
    testDescription: "DPR, argmax", preference: 0,
    labels: { first, second, _ in
      [(.given(firstIsBetter: preferenceOfScores(first, second)), 1)]
    }, value: { oracleValue(preferenceOfScores($0, $1), $2) }),
  Variant(
    testDescription: "DPR, soft", preference: 0,
    labels: { first, second, _ in [(.given(firstIsBetter: softPreference(first, second)), 1)] },
    value: { oracleValue(softPreference($0, $1), $2) }),
  Variant(
    testDescription: "DPR, drawn from the scores", preference: 0,
    labels: { first, second, _ in
      let p = softPreference(first, second)
      return [(.given(firstIsBetter: 1), p), (.given(firstIsBetter: 0), 1 - p)]
    }, value: { oracleValue(softPreference($0, $1), $2) }),
]

private func softPreference(_ first: Int, _ second: Int) -> Double {
  1 / (1 + exp(TabularPolicy.scores[second] - TabularPolicy.scores[first]))
}

/// The rows' mean gradient is the slope of J(θ) = E[F]: SAIL.md §3–5.
struct TabularPolicyTests {
  @Test(arguments: selfLabelled + oracleLabelled)
  private func anOnlineRowIsUnbiased(_ variant: Variant) {
    for policy in policies { expectUnbiased(policy, variant) }
    // At the reference self-labels have no slope; elsewhere every variant has one.
    #expect(policies[1].slopes { $0.mean(variant.value) }.contains { abs($0) > 0.02 })
  }

  @Test func theLikelierOrderIsUnbiased() {
    // Not at the reference: there every pair is a tie, where |u| has no slope.
    for policy in policies.dropFirst() { expectUnbiased(policy, likelier) }
  }

  @Test(arguments: selfLabelled + oracleLabelled)
  private func withoutT1OrT3ItIsBiased(_ variant: Variant) {
    // The test above can fail: each term is needed.
    let policy = policies[1]
    let slopes = policy.slopes { $0.mean(variant.value) }
    let withoutT1 = meanGradient(policy, variant, response: 0, baseline: 0)
    #expect(zip(withoutT1, slopes).contains { abs(-$0 - $1) > 1e-3 })
    if variant.preference != 0 {
      let other = Variant(
        testDescription: "", preference: 0, labels: variant.labels, value: variant.value)
      let withoutT3 = meanGradient(policy, other, response: 1, baseline: 0)
      #expect(zip(withoutT3, slopes).contains { abs(-$0 - $1) > 1e-3 })
    }
  }

  @Test(arguments: selfLabelled)
  private func aDataPairWithSelfLabelsIsUnbiased(_ variant: Variant) {
    // DDP: J over the labels of a fixed pair; no T1.
    for policy in policies {
      for (first, second) in [(0, 1), (1, 0), (2, 3), (1, 1)] {
        let slopes = policy.slopes { variant.value(first, second, $0.logit(first, second)) }
        var gradient = [Double](repeating: 0, count: TabularPolicy.count)
        addRow(
          policy, variant, first, second, response: 0, baseline: 0, probability: 1, to: &gradient)
        expectClose(gradient, slopes, "pair \(first), \(second)")
      }
    }
  }

  @Test func leaveOneOutBaselinesAreUnbiasedWhateverTheRoutes() {
    // Three rows of one step, one of each kind, all of their responses enumerated: each row's mean
    // gradient is the slope of its own J, though the baseline comes from the others.
    let rows = [selfLabelled[0], oracleLabelled[0], selfLabelled[1]]
    let policy = policies[2]
    let p = policy.logProbabilities.map { exp($0) }
    let pairs = (0..<TabularPolicy.count * TabularPolicy.count).map {
      ($0 / TabularPolicy.count, $0 % TabularPolicy.count)
    }
    func decodedValue(_ row: Int, _ pair: (Int, Int)) -> Double {
      let u = policy.logit(pair.0, pair.1)
      // A drawn label is not known while decoding.
      return decodeTimeValue(
        policy.logs(pair.0, pair.1), label: rows[row].labels(pair.0, pair.1, u)[0].0,
        objective: PairObjective(beta: TabularPolicy.beta))
    }
    var gradients = [[Double]](
      repeating: [Double](repeating: 0, count: TabularPolicy.count), count: rows.count)
    for one in pairs {
      for two in pairs {
        for three in pairs {
          let step = [one, two, three]
          let probability = step.reduce(1) { $0 * p[$1.0] * p[$1.1] }
          let values = step.indices.map { decodedValue($0, step[$0]) }
          let baselines = leaveOneOutBaselines(values: values, fallback: 0)
          for row in rows.indices {
            addRow(
              policy, rows[row], step[row].0, step[row].1, response: 1,
              baseline: baselines[row], probability: probability, to: &gradients[row])
          }
        }
      }
    }
    for row in rows.indices {
      expectClose(gradients[row], policy.slopes { $0.mean(rows[row].value) }, "row \(row)")
    }
  }

  @Test func aBaselineLowersTheVarianceOfT1() {
    // Why there is one: the second moment of the row's gradient, with and without.
    let policy = policies[1]
    func secondMoment(_ baseline: Double) -> Double {
      policy.mean { first, second, _ in
        var gradient = [Double](repeating: 0, count: TabularPolicy.count)
        addRow(
          policy, oracleLabelled[0], first, second, response: 1, baseline: baseline,
          probability: 1, to: &gradient)
        return gradient.reduce(0) { $0 + $1 * $1 }
      }
    }
    let mean = policy.mean(oracleLabelled[0].value)
    #expect(secondMoment(mean) < 0.8 * secondMoment(0))
  }

  private func expectUnbiased(_ policy: TabularPolicy, _ variant: Variant) {
    let slopes = policy.slopes { $0.mean(variant.value) }
    for baseline in [0, -0.6931471805599453, 2.5] {
      let gradient = meanGradient(policy, variant, response: 1, baseline: baseline)
      expectClose(gradient, slopes, "baseline \(baseline)")
    }
  }

  private func meanGradient(
    _ policy: TabularPolicy, _ variant: Variant, response: Double, baseline: Double
  ) -> [Double] {
    let p = policy.logProbabilities.map { exp($0) }
    var gradient = [Double](repeating: 0, count: TabularPolicy.count)
    for first in 0..<TabularPolicy.count {
      for second in 0..<TabularPolicy.count {
        addRow(
          policy, variant, first, second, response: response,
          baseline: baseline, probability: p[first] * p[second],
          to: &gradient)
      }
    }
    return gradient
  }

  /// Adds a row's gradient, over its labels, times the row's probability.
  private func addRow(
    _ policy: TabularPolicy, _ variant: Variant, _ first: Int, _ second: Int, response: Double,
    baseline: Double, probability: Double, to gradient: inout [Double]
  ) {
    let u = policy.logit(first, second)
    let objective = PairObjective(
      beta: TabularPolicy.beta, responseCoefficient: response,
      preferenceCoefficient: variant.preference)
    for (label, share) in variant.labels(first, second, u) {
      let loss = pairLoss(
        policy.logs(first, second), label: label, baseline: baseline, objective: objective)
      policy.add(probability * share * loss.dFirst, response: first, to: &gradient)
      policy.add(probability * share * loss.dSecond, response: second, to: &gradient)
    }
  }

  /// The gradient of the loss is the negative slope of J.
  private func expectClose(_ gradient: [Double], _ slopes: [Double], _ comment: String) {
    for (one, other) in zip(gradient, slopes) {
      #expect(abs(-one - other) < 1e-10, "\(comment): \(gradient) against −\(slopes)")
    }
  }
}
