extension RunConfiguration {
  /// How far the sum of fractions may miss 1 by rounding and still be 1.
  public static let fractionTolerance = 1e-9

  /// The key that switches T1 on, nil if nothing does.
  private var responseTermKey: String? {
    guard method == .sail else { return nil }
    if sail.dpp.fraction > 0, sail.dpp.responseCoefficient != 0 {
      return "sail.dpp.response_coefficient"
    }
    if sail.dpr.fraction > 0, sail.dpr.responseCoefficient != 0 {
      return "sail.dpr.response_coefficient"
    }
    return nil
  }

  /// Refuses settings that are each in range but make no sense together (SAIL.md §5).
  ///
  /// Routes with fraction 0 are not looked at.
  ///
  /// - Parameter place: where a key is written, for the error.
  /// - Throws: `ConfigurationError` with the reason and the way out.
  func checkConsistency(place: (String) -> String) throws(ConfigurationError) {
    func refuse(_ key: String, _ sentence: String) -> ConfigurationError {
      ConfigurationError(place(key), sentence)
    }
    if !data.eval.isEmpty, data.evalFraction > 0 {
      throw refuse(
        "data.eval_fraction",
        "data.eval and data.eval_fraction both name evaluation rows; keep one of them")
    }
    if let file = data.eval.first(where: { $0.weight != 1 }) {
      throw refuse(
        "data.eval",
        "data.eval: \(file.path) has a weight of \(file.weight), but evaluation sees each row "
          + "once; use limit to take fewer rows")
    }
    if data.overlong == .cut, data.maxPromptLength >= data.maxLength {
      throw refuse(
        "data.max_prompt_length",
        "data.max_prompt_length (\(data.maxPromptLength)) must be below data.max_length "
          + "(\(data.maxLength)) with overlong: cut, or a cut prompt leaves its completion no room")
    }
    if batch.groups > batch.pairs {
      throw refuse(
        "batch.groups",
        "batch.groups (\(batch.groups)) must be at most batch.pairs (\(batch.pairs)), "
          + "as every work group needs a row")
    }
    if sail.fractionSum > 1 + RunConfiguration.fractionTolerance {
      throw refuse(
        "sail",
        "the fractions of sail.ddp, sail.dpp and sail.dpr add up to \(sail.fractionSum); "
          + "they must be at most 1 together, as they are parts of the rows")
    }
    if method != .sail, sail.fractionSum > 0 {
      throw refuse(
        "sail",
        "method \(method.rawValue) has no online rows, but a fraction is above 0; "
          + "set method: sail or the fractions to 0")
    }
    if referenceCache != .off, !comparesWithReference {
      throw refuse(
        "reference_cache",
        "method \(method.rawValue) has no reference, whose log-probabilities reference_cache would "
          + "keep; set reference_cache: off")
    }
    if sail.dpr.fraction > 0, oracle == nil {
      throw refuse(
        "sail.dpr.fraction",
        "sail.dpr.fraction is above 0, but nobody labels its rows; "
          + "give oracle a command, rule or model")
    }
    try checkRoute(
      "sail.ddp", fraction: sail.ddp.fraction, response: 0,
      preference: sail.ddp.preferenceCoefficient, labels: sail.ddp.labels, refuse)
    try checkRoute(
      "sail.dpp", fraction: sail.dpp.fraction, response: sail.dpp.responseCoefficient,
      preference: sail.dpp.preferenceCoefficient, labels: sail.dpp.labels, refuse)
    try checkRoute(
      "sail.dpr", fraction: sail.dpr.fraction, response: sail.dpr.responseCoefficient,
      preference: 0, labels: nil, refuse)
    try checkDrawing(refuse)
    try checkObjective(refuse)
  }

  /// Refuses ways of drawing completions that T1 or importance weights cannot go with (SAIL.md §5.4).
  private func checkDrawing(
    _ refuse: (String, String) -> ConfigurationError
  ) throws(ConfigurationError) {
    let isWeighted =
      method == .sail && sail.importanceWeights && sail.dpp.fraction + sail.dpr.fraction > 0
    let needsWholePolicy =
      responseTermKey.map { "the term through the responses (\($0))" }
      ?? (isWeighted ? "sail.importance_weights" : nil)
    guard let needsWholePolicy else { return }
    if generation.topP < 1 || generation.topK > 0 {
      let cut = generation.topP < 1 ? "top_p" : "top_k"
      throw refuse(
        "generation.\(cut)",
        "generation.\(cut) leaves out tokens, but \(needsWholePolicy) needs completions drawn "
          + "from the whole policy; set top_p: 1 and top_k: 0, or switch the latter off")
    }
    if generation.temperature == 0 {
      throw refuse(
        "generation.temperature",
        "generation.temperature: 0 draws nothing, but \(needsWholePolicy) needs completions drawn "
          + "from the policy; set temperature: 1, or switch the latter off")
    }
    guard let key = responseTermKey, sail.t1Estimator == .score, !sail.importanceWeights else {
      return
    }
    let instead =
      "or \(key): 0, or sail.importance_weights: true, or sail.t1_estimator: released"
    if generation.temperature != 1 {
      throw refuse(
        "generation.temperature",
        "generation.temperature: \(generation.temperature) draws from another distribution than "
          + "the policy, on which \(key) is biased; set temperature: 1, \(instead)")
    }
    if generation.every > 1 {
      throw refuse(
        "generation.every",
        "generation.every: \(generation.every) trains on completions of older weights, on which "
          + "\(key) is biased; set every: 1, \(instead)")
    }
  }

  private func checkObjective(
    _ refuse: (String, String) -> ConfigurationError
  ) throws(ConfigurationError) {
    if objective.loss != .sigmoid, objective.link != .logistic, !usesOracleLink {
      throw refuse(
        "objective.link",
        "objective.link: \(objective.link.rawValue) has no meaning with objective.loss: "
          + "\(objective.loss.rawValue), which knows no probability of a label; "
          + "leave out the link or use loss: sigmoid")
    }
    if objective.revkl > 0, method == .sail,
      sail.fractionSum >= 1 - RunConfiguration.fractionTolerance
    {
      throw refuse(
        "objective.revkl",
        "objective.revkl is taken on offline rows, but the fractions of sail leave none; "
          + "lower a fraction or set revkl: 0")
    }
  }

  /// Whether the link turns oracle scores into probabilities.
  private var usesOracleLink: Bool {
    method == .sail && sail.dpr.fraction > 0 && sail.dpr.labels != .argmax
  }

  /// Checks one route's labels and coefficients; `labels` is nil where an oracle gives them.
  private func checkRoute(
    _ route: String, fraction: Double, response: Double, preference: Double, labels: SelfLabels?,
    _ refuse: (String, String) -> ConfigurationError
  ) throws(ConfigurationError) {
    guard fraction > 0 else { return }
    if labels == .argmax, preference != 0 {
      throw refuse(
        "\(route).preference_coefficient",
        "\(route).preference_coefficient must be 0 with labels: argmax, found \(preference): "
          + "a label that is not drawn has no term through its probability")
    }
    guard objective.loss != .sigmoid else { return }
    let loss = objective.loss.rawValue
    if let labels, labels != .argmax {
      throw refuse(
        "\(route).labels",
        "\(route).labels: \(labels.rawValue) cannot go with objective.loss: \(loss), "
          + "which gives no probability of a label; use labels: argmax, loss: sigmoid or a "
          + "fraction of 0")
    }
    if preference != 0 {
      throw refuse(
        "\(route).preference_coefficient",
        "\(route).preference_coefficient must be 0 with objective.loss: \(loss), found "
          + "\(preference): the term through the label needs its probability")
    }
    if response != 0 {
      throw refuse(
        "\(route).response_coefficient",
        "\(route).response_coefficient must be 0 with objective.loss: \(loss), found "
          + "\(response): the loss is no log-probability, its values would swamp the gradient")
    }
  }
}
