/// The loss of a labelled pair as a function of its margin.
public enum PreferenceLoss: String, Sendable, CaseIterable {
  /// −log G(u), G the link: DPO (Rafailov et al., arXiv 2305.18290, equation 7).
  case sigmoid
  /// (h − 1/(2β))² with log-probabilities summed over tokens (Azar et al., arXiv 2310.12036, equation 17).
  case ipo
  /// The same with each response's log-ratio divided by its number of tokens, as TRL's `ipo`.
  case ipoMean = "ipo-mean"
  /// max(0, 1 − u): SLiC (Zhao et al., arXiv 2305.10425), as TRL's `hinge`.
  case hinge
}

/// Log-probabilities of a pair's two responses under policy and reference.
public struct PairLogs: Sendable, Equatable {
  /// log π(first response), summed over its tokens.
  public var first: Double
  /// log π(second response).
  public var second: Double
  /// log π_ref(first response).
  public var referenceFirst: Double
  /// log π_ref(second response).
  public var referenceSecond: Double
  /// Tokens of the first response, at least 1.
  public var firstCount: Int
  /// Tokens of the second response, at least 1.
  public var secondCount: Int

  /// Log-probabilities from their parts; counts matter for ``PreferenceLoss/ipoMean`` only.
  public init(
    first: Double, second: Double, referenceFirst: Double = 0, referenceSecond: Double = 0,
    firstCount: Int = 1, secondCount: Int = 1
  ) {
    self.first = first
    self.second = second
    self.referenceFirst = referenceFirst
    self.referenceSecond = referenceSecond
    self.firstCount = firstCount
    self.secondCount = secondCount
  }

  /// u = β h = β [(lp₁ − lr₁) − (lp₂ − lr₂)]: the difference of implicit rewards.
  public func preferenceLogit(beta: Double) -> Double {
    beta * ((first - referenceFirst) - (second - referenceSecond))
  }
}

/// The margin that a loss is a function of, with its derivatives by the two log-probabilities.
struct PairMargin {
  var value: Double
  var dFirst: Double
  var dSecond: Double

  /// u, or for IPO h in its summed or mean form.
  init(_ logs: PairLogs, loss: PreferenceLoss, beta: Double) {
    switch loss {
    case .sigmoid, .hinge:
      value = logs.preferenceLogit(beta: beta)
      dFirst = beta
      dSecond = -beta
    case .ipo:
      value = logs.preferenceLogit(beta: 1)
      dFirst = 1
      dSecond = -1
    case .ipoMean:
      dFirst = 1 / Double(logs.firstCount)
      dSecond = -1 / Double(logs.secondCount)
      value =
        (logs.first - logs.referenceFirst) * dFirst + (logs.second - logs.referenceSecond) * dSecond
    }
  }
}

extension PreferenceLoss {
  /// Loss of "the first is better" and its derivative by the margin.
  ///
  /// "The second is better" is the same at the negative margin.
  func at(
    _ margin: Double, beta: Double, link: PreferenceLink
  ) -> (loss: Double, slope: Double) {
    switch self {
    case .sigmoid:
      return (-link.logProbability(margin), -link.slope(margin))
    case .ipo, .ipoMean:
      let miss = margin - 1 / (2 * beta)
      return (miss * miss, 2 * miss)
    case .hinge:
      return margin < 1 ? (1 - margin, -1) : (0, 0)
    }
  }
}
