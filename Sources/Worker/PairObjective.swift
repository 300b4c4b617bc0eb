/// How the term through the response distribution (T1) is estimated.
public enum ResponseTermEstimator: Sendable, Equatable {
  /// The score function of the paper's formula, with a baseline.
  case score
  /// What the authors' released code computes: F divided by the response's log-probability.
  ///
  /// No baseline; 8 (micro-batch 4 × accumulation 2) restores the size in their runs.
  case released(scale: Double)
}

/// Settings of the loss of one pair.
public struct PairObjective: Sendable, Equatable {
  /// The loss of a labelled pair.
  public var loss: PreferenceLoss
  /// β, the strength of the KL term.
  public var beta: Double
  /// The part of labels by data or oracle that are taken for wrong (cDPO).
  public var labelSmoothing: Double
  /// How u becomes a probability.
  public var link: PreferenceLink
  /// Coefficient of T1, the term through the response distribution.
  public var responseCoefficient: Double
  /// Coefficient of T3, the term through the self-preference label.
  public var preferenceCoefficient: Double
  /// How T1 is estimated.
  public var responseEstimator: ResponseTermEstimator
  /// γ of RevKL: the weight of Σ_t KL(π_ref ‖ π) on the row's sequences.
  public var divergenceCoefficient: Double

  /// Settings from their values; without coefficients they are plain DPO.
  public init(
    loss: PreferenceLoss = .sigmoid, beta: Double, labelSmoothing: Double = 0,
    link: PreferenceLink = .logistic, responseCoefficient: Double = 0,
    preferenceCoefficient: Double = 0, responseEstimator: ResponseTermEstimator = .score,
    divergenceCoefficient: Double = 0
  ) {
    self.loss = loss
    self.beta = beta
    self.labelSmoothing = labelSmoothing
    self.link = link
    self.responseCoefficient = responseCoefficient
    self.preferenceCoefficient = preferenceCoefficient
    self.responseEstimator = responseEstimator
    self.divergenceCoefficient = divergenceCoefficient
  }
}

/// Parts of a step's gradient (SAIL, arXiv 2406.15567, its three terms; RevKL, arXiv 2606.31524).
public struct GradientTerms: OptionSet, Sendable, Hashable {
  /// The bits, one a term.
  public let rawValue: Int
  /// T1, through the distribution of the responses.
  public static let t1 = GradientTerms(rawValue: 1)
  /// T2, the pair's loss at its label.
  public static let t2 = GradientTerms(rawValue: 2)
  /// T3, through the label that the policy gives.
  public static let t3 = GradientTerms(rawValue: 4)
  /// The penalty of RevKL.
  public static let revkl = GradientTerms(rawValue: 8)
  /// All of them: the gradient that is trained on.
  public static let all: GradientTerms = [.t1, .t2, .t3, .revkl]

  /// Each term by itself, with its name in metrics.
  public static let named: [(name: String, term: GradientTerms)] = [
    ("t1", .t1), ("t2", .t2), ("t3", .t3), ("revkl", .revkl),
  ]

  /// Terms from their bits.
  public init(rawValue: Int) { self.rawValue = rawValue }
}
