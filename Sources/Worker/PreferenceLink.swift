import Glibc

/// How a difference of rewards becomes a probability: p(first is better) = G(u), G(−u) = 1 − G(u).
public enum PreferenceLink: String, Sendable, CaseIterable {
  /// G = σ (Bradley–Terry).
  case logistic
  /// G = Φ, the normal distribution function (Thurstone); pulls 1.6 times harder at u = 0.
  case probit

  /// G(u).
  public func probability(_ u: Double) -> Double {
    switch self {
    case .logistic: sigmoid(u)
    case .probit: 0.5 * erfc(-u / 2.0.squareRoot())
    }
  }

  /// log G(u), exact in both tails.
  func logProbability(_ u: Double) -> Double {
    switch self {
    case .logistic: logSigmoid(u)
    case .probit: logNormalDistribution(u)
    }
  }

  /// m(u) = G′(u)/G(u), the derivative of log G(u).
  func slope(_ u: Double) -> Double {
    switch self {
    case .logistic: sigmoid(-u)
    case .probit:
      // Far below, φ/Φ = |u| / series; the difference of the logarithms would lose its digits.
      u < farBelow ? -u / tailSeries(u) : exp(-u * u / 2 - logRootOfTwoPi - logProbability(u))
    }
  }

  /// log G(u) − log G(−u).
  func logOdds(_ u: Double) -> Double {
    switch self {
    case .logistic: u
    case .probit: logProbability(u) - logProbability(-u)
    }
  }
}

private let logRootOfTwoPi = 0.918_938_533_204_672_7
// Below it the series of six terms is exact to the last digits.
private let farBelow = -25.0

/// log Φ(u): by erfc, and by the asymptotic series where erfc comes near the smallest doubles.
private func logNormalDistribution(_ u: Double) -> Double {
  if u < farBelow { return -u * u / 2 - logRootOfTwoPi - log(-u) + log(tailSeries(u)) }
  if u > 0 { return log1p(-0.5 * erfc(u / 2.0.squareRoot())) }
  return log(0.5 * erfc(-u / 2.0.squareRoot()))
}

/// Φ(u) |u| / φ(u) = 1 − 1/u² + 3/u⁴ − 15/u⁶ + … (Abramowitz and Stegun, 26.2.12).
private func tailSeries(_ u: Double) -> Double {
  let x = 1 / (u * u)
  return 1 - x * (1 - x * (3 - x * (15 - x * (105 - x * 945))))
}
