import Glibc

/// Where a row's responses and label come from (SAIL, arXiv 2406.15567; D data, P policy, R reward).
public enum Route: String, Sendable, CaseIterable {
  /// Responses and label from the data set: plain DPO.
  case offline
  /// Responses from the data set, label from the policy's own preference.
  case ddp
  /// Responses from the policy, label from the policy's own preference.
  case dpp
  /// Responses from the policy, label from an oracle.
  case dpr

  /// Whether the responses are the policy's own.
  public var isOnline: Bool { self == .dpp || self == .dpr }
}

/// Who says which of a pair's two responses is better.
public enum PairLabel: Sendable, Equatable {
  /// Data or oracle: the first is better with this probability (1, 0, or ½ for a tie).
  case given(firstIsBetter: Double)
  /// The policy's own preference, in expectation.
  case expected
  /// The policy's own preference, drawn: the first is better if the uniform number is below σ(u).
  case sampled(uniform: Double)
  /// The policy's own preference, the likelier order.
  case mostLikely
}

/// Settings of the loss of one pair.
public struct PairObjective: Sendable, Equatable {
  /// β, the strength of the KL term.
  public var beta: Double
  /// Coefficient of T1, the term through the response distribution.
  public var responseCoefficient: Double
  /// Coefficient of T3, the term through the self-preference label.
  public var preferenceCoefficient: Double
  /// How u becomes a probability.
  public var link: PreferenceLink

  /// Settings from their values; coefficients 0 leave plain DPO.
  public init(
    beta: Double, responseCoefficient: Double = 0, preferenceCoefficient: Double = 0,
    link: PreferenceLink = .logistic
  ) {
    self.link = link
    self.beta = beta
    self.responseCoefficient = responseCoefficient
    self.preferenceCoefficient = preferenceCoefficient
  }
}

/// Loss of one pair and its derivatives.
public struct PairLoss: Sendable, Equatable {
  /// The loss.
  public var loss: Double
  /// ∂loss/∂ log π(first response), all terms.
  public var dFirst: Double
  /// ∂loss/∂ log π(second response), all terms.
  public var dSecond: Double
  /// u = β [(lp₁ − lr₁) − (lp₂ − lr₂)], in the stored order of the responses.
  public var u: Double
  /// V, the value of the pair that T1 weighs: the mean of F = log σ(±u) over the label.
  public var value: Double
  /// Whether the first response counts as chosen; nil for a tie or an expectation.
  public var isFirstChosen: Bool?
}

/// log σ(u), exact for large |u|.
public func logSigmoid(_ u: Double) -> Double {
  u >= 0 ? -log1p(exp(-u)) : u - log1p(exp(u))
}

/// σ(u).
public func sigmoid(_ u: Double) -> Double {
  u >= 0 ? 1 / (1 + exp(-u)) : exp(u) / (1 + exp(u))
}

// Below this |u| the likelier order is rounding noise.
private let tieWidth = 1e-6

/// u of a pair from its summed log-probabilities under policy and reference.
public func preferenceLogit(
  first: Double, second: Double, referenceFirst: Double, referenceSecond: Double, beta: Double
) -> Double {
  beta * ((first - referenceFirst) - (second - referenceSecond))
}

/// Loss of one pair, before the division by the number of planned pairs.
///
/// With G the link, G(u) the probability of "first is better", F = log G(u) of the labelled order,
/// b the baseline and sg a stopped gradient (SAIL, arXiv 2406.15567, its three gradient terms):
///
///     labelled   − F − (c_pref/2) F² − c_resp sg(F − b)(lp₁ + lp₂)          V = F
///     expected   c_pref H + c_resp sg(H + b)(lp₁ + lp₂)                     V = −H
///     likelier   − log G(|u|) − c_resp sg(log G(|u|) − b)(lp₁ + lp₂)        V = log G(|u|)
///
/// with H the entropy of the label. A given label with probability p takes p log G(u) +
/// (1 − p) log G(−u) for F in T2 and as V; T3 needs p = 0 or 1.
///
/// - Parameters:
///   - first: log π(first response), summed over its tokens.
///   - second: log π(second response).
///   - u: ``preferenceLogit(first:second:referenceFirst:referenceSecond:beta:)`` of the pair.
///   - label: who labels.
///   - baseline: b; it must not depend on this pair.
///   - objective: the settings.
/// - Returns: the loss and its derivatives by the two log-probabilities.
public func pairLoss(
  first: Double, second: Double, u: Double, label: PairLabel, baseline: Double,
  objective: PairObjective
) -> PairLoss {
  let preference = objective.preferenceCoefficient
  let link = objective.link
  var loss: Double
  var dU: Double
  let value: Double
  let isFirstChosen: Bool?
  switch label {
  case .given(let p) where p != 0 && p != 1:
    value = p * link.logProbability(u) + (1 - p) * link.logProbability(-u)
    loss = -value
    dU = -(p * link.slope(u) - (1 - p) * link.slope(-u))
    isFirstChosen = p == 0.5 ? nil : p > 0.5
  case .given, .sampled:
    let isFirst =
      switch label {
      case .sampled(let uniform): uniform < link.probability(u)
      default: label == .given(firstIsBetter: 1)
      }
    let sign: Double = isFirst ? 1 : -1
    let f = link.logProbability(sign * u)
    value = f
    loss = -f - preference / 2 * f * f
    dU = -sign * link.slope(sign * u) * (1 + preference * f)
    isFirstChosen = isFirst
  case .expected:
    let q = link.probability(u)
    // Not 1 − q, which has no digits left where q is near 1.
    let other = link.probability(-u)
    let entropy = -q * link.logProbability(u) - other * link.logProbability(-u)
    value = -entropy
    loss = preference * entropy
    dU = -preference * q * link.slope(u) * link.logOdds(u)
    isFirstChosen = nil
  case .mostLikely:
    let isTie = abs(u) < tieWidth
    value = link.logProbability(abs(u))
    loss = -value
    dU = isTie ? 0 : -(u > 0 ? 1 : -1) * link.slope(abs(u))
    isFirstChosen = isTie ? nil : u > 0
  }
  // T1: V − b, weighing the log-probability of both responses.
  let weight = objective.responseCoefficient * (value - baseline)
  loss -= weight * (first + second)
  return PairLoss(
    loss: loss, dFirst: objective.beta * dU - weight, dSecond: -objective.beta * dU - weight,
    u: u, value: value, isFirstChosen: isFirstChosen)
}
