import Glibc

/// One term of a pair's loss, with its derivatives by the log-probabilities of the two responses.
public struct PairTerm: Sendable, Equatable {
  /// The term.
  public var loss = 0.0
  /// ∂/∂ log π(first response).
  public var first = 0.0
  /// ∂/∂ log π(second response).
  public var second = 0.0
}

/// Loss of one pair and its derivatives.
public struct PairLoss: Sendable, Equatable {
  /// T1, the term through the responses.
  public var t1 = PairTerm()
  /// T2, the loss at the label.
  public var t2 = PairTerm()
  /// T3, the term through the policy's own label.
  public var t3 = PairTerm()
  /// u = β [(lp₁ − lr₁) − (lp₂ − lr₂)], in the stored order of the responses.
  public var u: Double
  /// V, the value of the pair that T1 weighs: the mean of F over the label; −loss without a link.
  public var value: Double
  /// Whether the first response counts as chosen; nil for a tie or an expectation.
  public var isFirstChosen: Bool?

  /// The loss, all terms.
  public var loss: Double { sum(.all).loss }
  /// ∂loss/∂ log π(first response), all terms.
  public var dFirst: Double { sum(.all).first }
  /// ∂loss/∂ log π(second response), all terms.
  public var dSecond: Double { sum(.all).second }

  /// Some terms together.
  public func sum(_ terms: GradientTerms) -> PairTerm {
    var result = PairTerm()
    for (term, part) in [(GradientTerms.t1, t1), (.t2, t2), (.t3, t3)] where terms.contains(term) {
      result.loss += part.loss
      result.first += part.first
      result.second += part.second
    }
    return result
  }
}

/// log σ(u), exact for large |u|.
public func logSigmoid(_ u: Double) -> Double {
  u >= 0 ? -log1p(exp(-u)) : u - log1p(exp(u))
}

/// σ(u).
public func sigmoid(_ u: Double) -> Double {
  u >= 0 ? 1 / (1 + exp(-u)) : exp(u) / (1 + exp(u))
}

/// Below this |margin| the likelier order is rounding noise.
public let tieWidth = 1e-6

/// Loss of one pair, before the division by the number of planned pairs.
///
/// With G the link, G(u) the probability of "first is better", F = log G(u) of the labelled order,
/// b the baseline and sg a stopped gradient (SAIL, arXiv 2406.15567, its three gradient terms):
///
///     given      − F̄ − c_resp sg(F̄ − b)(lp₁ + lp₂)                        V = F̄
///     drawn      − F − (c_pref/2) F² − c_resp sg(F − b)(lp₁ + lp₂)          V = F
///     expected   c_pref H + c_resp sg(H + b)(lp₁ + lp₂)                     V = −H
///     likelier   − log G(|u|) − c_resp sg(log G(|u|) − b)(lp₁ + lp₂)        V = log G(|u|)
///
/// with H the entropy of the label. A label given with probability p, smoothed to p = ε + (1 − 2ε)p,
/// has F̄ = p log G(u) + (1 − p) log G(−u). Losses other than `sigmoid` stand in for −F; V = −loss.
/// T1 of the released code is − c s sg(V/lp)(lp) for each response instead, |lp| < 1 taken as 1.
///
/// - Parameters:
///   - logs: log-probabilities of the two responses.
///   - label: who labels.
///   - baseline: b; it must not depend on this pair.
///   - weight: importance weight of the whole row, without gradient.
///   - objective: the settings.
/// - Returns: the loss and its derivatives by the two log-probabilities, term by term.
public func pairLoss(
  _ logs: PairLogs, label: PairLabel, baseline: Double, weight: Double = 1,
  objective: PairObjective
) -> PairLoss {
  let margin = PairMargin(logs, loss: objective.loss, beta: objective.beta)
  let labelled = labelledLoss(margin.value, label: label, objective: objective)
  func term(_ loss: Double, _ slope: Double) -> PairTerm {
    PairTerm(
      loss: weight * loss, first: weight * slope * margin.dFirst,
      second: weight * slope * margin.dSecond)
  }
  let score = responseScore(
    logs, value: labelled.value, baseline: baseline, objective: objective)
  return PairLoss(
    t1: PairTerm(
      loss: -weight * (score.first * logs.first + score.second * logs.second),
      first: -weight * score.first, second: -weight * score.second),
    t2: term(labelled.loss, labelled.slope),
    t3: term(labelled.preferenceLoss, labelled.preferenceSlope),
    u: logs.preferenceLogit(beta: objective.beta), value: labelled.value,
    isFirstChosen: labelled.isFirstChosen)
}

/// T2 and T3 of a pair with their derivatives by the margin.
private struct LabelledLoss {
  /// T2.
  var loss = 0.0
  var slope = 0.0
  /// T3.
  var preferenceLoss = 0.0
  var preferenceSlope = 0.0
  var value = 0.0
  var isFirstChosen: Bool?
}

private func labelledLoss(
  _ margin: Double, label: PairLabel, objective: PairObjective
) -> LabelledLoss {
  let link = objective.link
  let preference = objective.preferenceCoefficient
  func at(_ margin: Double) -> (loss: Double, slope: Double) {
    objective.loss.at(margin, beta: objective.beta, link: link)
  }
  switch label {
  case .given(let p):
    let smoothed = objective.labelSmoothing + (1 - 2 * objective.labelSmoothing) * p
    var result = LabelledLoss(isFirstChosen: p == 0.5 ? nil : p > 0.5)
    // A term of probability 0 may be infinite.
    if smoothed > 0 {
      let first = at(margin)
      result.loss += smoothed * first.loss
      result.slope += smoothed * first.slope
    }
    if smoothed < 1 {
      let second = at(-margin)
      result.loss += (1 - smoothed) * second.loss
      result.slope -= (1 - smoothed) * second.slope
    }
    result.value = -result.loss
    return result
  case .sampled(let uniform):
    let isFirst = uniform < link.probability(margin)
    let sign: Double = isFirst ? 1 : -1
    let f = link.logProbability(sign * margin)
    let slope = sign * link.slope(sign * margin)
    return LabelledLoss(
      loss: -f, slope: -slope, preferenceLoss: -preference / 2 * f * f,
      preferenceSlope: -preference * f * slope, value: f, isFirstChosen: isFirst)
  case .expected:
    let q = link.probability(margin)
    // Not 1 − q, which has no digits left where q is near 1.
    let other = link.probability(-margin)
    let entropy = -q * link.logProbability(margin) - other * link.logProbability(-margin)
    return LabelledLoss(
      preferenceLoss: preference * entropy,
      preferenceSlope: -preference * q * link.slope(margin) * link.logOdds(margin),
      value: -entropy)
  case .mostLikely:
    let isTie = abs(margin) < tieWidth
    let likelier = at(abs(margin))
    return LabelledLoss(
      loss: likelier.loss, slope: isTie ? 0 : (margin > 0 ? 1 : -1) * likelier.slope,
      value: -likelier.loss, isFirstChosen: isTie ? nil : margin > 0)
  }
}

/// What T1 multiplies the log-probability of each response with, negative derivatives of the loss.
private func responseScore(
  _ logs: PairLogs, value: Double, baseline: Double, objective: PairObjective
) -> (first: Double, second: Double) {
  let coefficient = objective.responseCoefficient
  if coefficient == 0 { return (0, 0) }
  switch objective.responseEstimator {
  case .score:
    let score = coefficient * (value - baseline)
    return (score, score)
  case .released(let scale):
    return (
      first: coefficient * scale * value / min(logs.first, -1),
      second: coefficient * scale * value / min(logs.second, -1)
    )
  }
}
