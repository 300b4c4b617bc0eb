import Glibc
import Testing

@testable import Worker

/// A policy over four responses to one prompt, π = softmax(θ): everything can be enumerated.
struct TabularPolicy: Sendable {
  static let count = 4
  static let beta = 0.7
  static let reference = [0.4, 0.1, 0.2, 0.3].map { log($0) }
  /// An oracle's scores; responses 1 and 3 are a tie.
  static let scores = [0.3, 1.1, -0.4, 1.1]
  /// The reference itself, and two policies away from it.
  static let examples = [
    TabularPolicy(parameters: reference), TabularPolicy(parameters: [0.3, -1.2, 0.8, 0.1]),
    TabularPolicy(parameters: [-2, 1.5, 0.4, -0.6]),
  ]
  /// Every pair of responses.
  static let pairs = (0..<count * count).map { ($0 / count, $0 % count) }

  var parameters: [Double]

  /// log π of each response.
  var logProbabilities: [Double] { logProbabilities(temperature: 1) }

  /// log softmax(log π / τ) of each response.
  func logProbabilities(temperature: Double) -> [Double] {
    let scaled = parameters.map { $0 / temperature }
    let normalizer = log(scaled.reduce(0) { $0 + exp($1) })
    return scaled.map { $0 - normalizer }
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
    return Self.pairs.reduce(0) { sum, pair in
      sum + exp(p[pair.0] + p[pair.1]) * value(pair.0, pair.1, logit(pair.0, pair.1))
    }
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

/// A kind of row: its labels with their probabilities, and the mean of F that its J is made of.
struct TabularVariant: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var link: PreferenceLink
  /// Coefficient of T3: 1 where J's own label depends on the policy.
  var preference = 0.0
  /// ε.
  var smoothing = 0.0
  var labels: @Sendable (_ first: Int, _ second: Int, _ u: Double) -> [(PairLabel, Double)]
  var value: @Sendable (_ first: Int, _ second: Int, _ u: Double) -> Double

  /// Settings of the pair loss whose mean gradient is that of J.
  func objective(response: Double) -> PairObjective {
    PairObjective(
      beta: TabularPolicy.beta, labelSmoothing: smoothing, link: link,
      responseCoefficient: response, preferenceCoefficient: preference)
  }

  /// Adds a row's gradient, over its labels, times the row's probability.
  ///
  /// `generated` is log q of both responses together, for a row with an importance weight.
  func addRow(
    _ policy: TabularPolicy, _ pair: (Int, Int), response: Double, baseline: Double,
    probability: Double, generated: Double? = nil, to gradient: inout [Double]
  ) {
    let logs = policy.logs(pair.0, pair.1)
    let u = policy.logit(pair.0, pair.1)
    let weight = generated.map { importanceWeight(logs, generated: $0) } ?? 1
    for (label, share) in labels(pair.0, pair.1, u) {
      let loss = pairLoss(
        logs, label: label, baseline: baseline, weight: weight,
        objective: objective(response: response))
      policy.add(probability * share * loss.dFirst, response: pair.0, to: &gradient)
      policy.add(probability * share * loss.dSecond, response: pair.1, to: &gradient)
    }
  }

  /// Mean gradient of rows whose responses come from the policy.
  func meanGradient(
    _ policy: TabularPolicy, response: Double, baseline: Double
  ) -> [Double] {
    let p = policy.logProbabilities
    var gradient = [Double](repeating: 0, count: TabularPolicy.count)
    for pair in TabularPolicy.pairs {
      addRow(
        policy, pair, response: response, baseline: baseline,
        probability: exp(p[pair.0] + p[pair.1]), to: &gradient)
    }
    return gradient
  }
}
