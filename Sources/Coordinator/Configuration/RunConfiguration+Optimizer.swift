extension RunConfiguration {
  /// The optimizer, by torch's definitions, and its schedule.
  public struct OptimizerSettings: Sendable, Equatable {
    /// The rule.
    public var name = OptimizerName.adamw
    /// The learning rate after the warm-up.
    public var learningRate = 1e-6
    /// How the learning rate goes on.
    public var schedule = Schedule.constant
    /// Steps over which the learning rate rises from 0.
    public var warmupSteps = 0
    /// The decoupled weight decay.
    public var weightDecay = 0.0
    /// The largest norm of the gradient; 0 is off.
    public var clip = 1.0
    /// The decay of AdamW's first moment.
    public var firstBeta = 0.9
    /// The decay of AdamW's second moment.
    public var secondBeta = 0.999
    /// What is added to a denominator.
    public var eps = 1e-8
    /// The momentum of SGD and RMSprop.
    public var momentum = 0.0
    /// The decay of RMSprop's mean square.
    public var alpha = 0.99
  }

  /// The optimizer's rule.
  public enum OptimizerName: String, Sendable, Equatable, CaseIterable {
    /// Adam with decoupled weight decay.
    case adamw
    /// RMSprop.
    case rmsprop
    /// Stochastic gradient descent.
    case sgd
  }

  /// How the learning rate goes on after the warm-up.
  public enum Schedule: String, Sendable, Equatable, CaseIterable {
    /// It stays.
    case constant
    /// It falls to 0 in a line.
    case linear
    /// It falls to 0 in half a cosine.
    case cosine
  }

  /// A low-rank adapter (LoRA).
  ///
  /// What is nil is that of the adapter folder that the run goes on from, else the default of a new
  /// adapter.
  public struct AdapterSettings: Sendable, Equatable {
    /// The rank; 64 by default.
    public var rank: Int?
    /// The scale's numerator: the update is multiplied by alpha / rank; 16 by default.
    public var alpha: Double?
    /// Which projections have one; all by default.
    public var targets: AdapterTargets?
    /// The probability that an input is dropped; 0 by default.
    public var dropout: Double?
    /// Whether the update is multiplied by alpha / √rank instead; false by default.
    public var rslora: Bool?
  }

  /// Which projections an adapter sits on.
  public enum AdapterTargets: Sendable, Equatable {
    /// All of them.
    case all
    /// Those with these names.
    case named([String])
  }
}

extension RunConfiguration.OptimizerSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    try section.read("name", into: &name)
    try section.read("learning_rate", into: &learningRate, .atLeast(0))
    try section.read("schedule", into: &schedule)
    try section.read("warmup_steps", into: &warmupSteps, atLeast: 0)
    try section.read("weight_decay", into: &weightDecay, .atLeast(0))
    try section.read("clip", into: &clip, .atLeast(0))
    let expected = "a list of two numbers, such as [0.9, 0.999]"
    if let betas = try section.written("betas", expected) {
      guard case .list(let elements) = betas.content, elements.count == 2 else {
        throw section.mismatch("betas", betas, expected)
      }
      firstBeta = try section.number("betas", elements[0], .fromBelow(0, 1))
      secondBeta = try section.number("betas", elements[1], .fromBelow(0, 1))
    }
    try section.read("eps", into: &eps, .atLeast(0))
    try section.read("momentum", into: &momentum, .fromBelow(0, 1))
    try section.read("alpha", into: &alpha, .fromBelow(0, 1))
  }
}

extension RunConfiguration.AdapterSettings {
  init(reading section: ConfigurationSection) throws(ConfigurationError) {
    if section.value("rank") != nil {
      var value = 0
      try section.read("rank", into: &value, atLeast: 1)
      guard value <= 65536 else {
        throw ConfigurationError("adapter.rank must be at most 65536, found \(value)")
      }
      rank = value
    }
    if section.value("alpha") != nil {
      var value = 0.0
      try section.read("alpha", into: &value, .above(0))
      alpha = value
    }
    let expected = "all or a list of names"
    // As in the other keys of an adapter, nothing means what the folder or the default says.
    if let value = section.value("targets") {
      if case .scalar("all", _) = value.content {
        targets = .all
      } else {
        targets = .named(try section.texts("targets", expected))
      }
    }
    if section.value("dropout") != nil {
      var value = 0.0
      try section.read("dropout", into: &value, .fromBelow(0, 1))
      dropout = value
    }
    if section.value("rslora") != nil {
      var value = false
      try section.read("rslora", into: &value)
      rslora = value
    }
  }
}
