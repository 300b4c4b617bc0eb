extension RunConfiguration {
  /// The loss of a preference pair.
  public struct ObjectiveSettings: Sendable, Equatable {
    /// The loss of u = β h (SAIL.md §2).
    public var loss = Loss.sigmoid
    /// β: how dear it is to leave the reference.
    public var beta = 0.1
    /// The part of labels by data or oracle that are taken for wrong.
    public var labelSmoothing = 0.0
    /// The preference model G in p = G(u).
    public var link = Link.logistic
    /// γ, the weight of SAIL-RevKL (SAIL.md §7).
    public var revkl = 0.0
    /// Whose tokens the RevKL term is taken on.
    public var revklOn = RevKLSource.dataset
  }

  /// The kind of loss.
  public enum Loss: String, Sendable, Equatable, CaseIterable {
    /// −log G(u).
    case sigmoid
    /// Equation 17 of the IPO paper, log-probabilities summed over tokens.
    case ipo
    /// The same with log-probabilities averaged over tokens.
    case ipoMean = "ipo-mean"
    /// max(0, 1 − u).
    case hinge
  }

  /// The preference model.
  public enum Link: String, Sendable, Equatable, CaseIterable {
    /// Bradley–Terry: the logistic function.
    case logistic
    /// The normal distribution function.
    case probit
  }

  /// Whose tokens the RevKL term is taken on.
  public enum RevKLSource: String, Sendable, Equatable, CaseIterable {
    /// The dataset's completions.
    case dataset
    /// Completions drawn from the reference.
    case reference
  }
}

extension RunConfiguration.ObjectiveSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    try section.read("loss", into: &loss)
    try section.read("beta", into: &beta, .above(0))
    try section.read("label_smoothing", into: &labelSmoothing, .fromBelow(0, 0.5))
    try section.read("link", into: &link)
    try section.read("revkl", into: &revkl, .atLeast(0))
    try section.read("revkl_on", into: &revklOn)
  }
}
