extension RunConfiguration {
  /// The online routes of SAIL (SAIL.md §4) and the estimator of the term through the responses.
  public struct SailSettings: Sendable, Equatable {
    /// Dataset pairs labelled by the policy itself.
    public var ddp = DDPSettings()
    /// Pairs of own completions labelled by the policy itself.
    public var dpp = DPPSettings()
    /// Pairs of own completions labelled by the oracle.
    public var dpr = DPRSettings()
    /// How the term through the response distribution (T1) is estimated.
    public var t1Estimator = T1Estimator.score
    /// The factor of the released estimator.
    public var releasedScale = 1.0
    /// What is subtracted from a row's value in T1.
    public var baseline = Baseline.leaveOneOut
    /// Whether rows whose completions come from another distribution are weighed by π/q.
    public var importanceWeights = false
    /// Steps between measurements of the norms of the gradient's terms; 0 is off.
    public var termNormsEvery = 100

    /// The part of the rows that leave the offline route: the sum of the three fractions.
    public var fractionSum: Double { ddp.fraction + dpp.fraction + dpr.fraction }
  }

  /// Dataset pairs labelled by the policy (the paper's SAIL-DP).
  public struct DDPSettings: Sendable, Equatable {
    /// The part of the rows on this route.
    public var fraction = 0.0
    /// ρ: the weight of the term through the label (T3).
    public var preferenceCoefficient = 0.2
    /// How labels follow from the policy's own preference.
    public var labels = SelfLabels.expected
  }

  /// Pairs of own completions labelled by the policy (SAIL-PP).
  public struct DPPSettings: Sendable, Equatable {
    /// The part of the rows on this route.
    public var fraction = 0.0
    /// The weight of the term through the responses (T1).
    public var responseCoefficient = 0.01
    /// π: the weight of the term through the label (T3).
    public var preferenceCoefficient = 0.2
    /// How labels follow from the policy's own preference.
    public var labels = SelfLabels.expected
  }

  /// Pairs of own completions labelled by the oracle (SAIL-PR).
  public struct DPRSettings: Sendable, Equatable {
    /// The part of the rows on this route.
    public var fraction = 0.0
    /// γ: the weight of the term through the responses (T1).
    public var responseCoefficient = 0.01
    /// How labels follow from the oracle's scores.
    public var labels = OracleLabels.argmax
  }

  /// Labels from the policy's own preference q = G(u).
  public enum SelfLabels: String, Sendable, Equatable, CaseIterable {
    /// Both labels, weighted by their probability.
    case expected
    /// One label, drawn.
    case sample
    /// The likelier label.
    case argmax
  }

  /// Labels from an oracle's scores.
  public enum OracleLabels: String, Sendable, Equatable, CaseIterable {
    /// The higher score wins.
    case argmax
    /// One label, drawn by the scores' difference.
    case sample
    /// Both labels, weighted by their probability.
    case soft
  }

  /// The estimator of the term through the response distribution.
  public enum T1Estimator: String, Sendable, Equatable, CaseIterable {
    /// The score function of the paper's formula.
    case score
    /// What the released code computes (SAIL.md §6).
    case released
  }

  /// What is subtracted from a row's value in T1.
  public enum Baseline: String, Sendable, Equatable, CaseIterable {
    /// The mean value of the step's other online rows.
    case leaveOneOut = "leave-one-out"
    /// The mean value of the last step with online rows.
    case previous
    /// Nothing.
    case none
  }
}

extension RunConfiguration.SailSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    let ddpSection = try section.section("ddp")
    try ddpSection.read("fraction", into: &ddp.fraction, .fromTo(0, 1))
    try ddpSection.read(
      "preference_coefficient", into: &ddp.preferenceCoefficient, .atLeast(0))
    try ddpSection.read("labels", into: &ddp.labels)
    let dppSection = try section.section("dpp")
    try dppSection.read("fraction", into: &dpp.fraction, .fromTo(0, 1))
    try dppSection.read("response_coefficient", into: &dpp.responseCoefficient, .atLeast(0))
    try dppSection.read(
      "preference_coefficient", into: &dpp.preferenceCoefficient, .atLeast(0))
    try dppSection.read("labels", into: &dpp.labels)
    let dprSection = try section.section("dpr")
    try dprSection.read("fraction", into: &dpr.fraction, .fromTo(0, 1))
    try dprSection.read("response_coefficient", into: &dpr.responseCoefficient, .atLeast(0))
    try dprSection.read("labels", into: &dpr.labels)
    try section.read("t1_estimator", into: &t1Estimator)
    try section.read("released_scale", into: &releasedScale, .atLeast(0))
    try section.read("baseline", into: &baseline)
    try section.read("importance_weights", into: &importanceWeights)
    try section.read("term_norms_every", into: &termNormsEvery, atLeast: 0)
  }
}
