import Tensor

/// The run file: everything that a training run is asked to do (DESIGN.md §4).
///
/// Defaults stand at the properties, here and in the settings' own files, and nowhere else.
public struct RunConfiguration: Sendable, Equatable {
  /// The policy to start from.
  public var model: ModelSource
  /// What to train.
  public var method: Method
  /// The folder of the frozen reference; nil is the starting model.
  public var reference: String?
  /// The training and evaluation rows.
  public var data: DataSettings
  /// The loss.
  public var objective = ObjectiveSettings()
  /// The online routes of SAIL.
  public var sail = SailSettings()
  /// Who labels DPR rows and judges evaluation; nil is nobody.
  public var oracle: OracleSource?
  /// How completions are drawn.
  public var generation = GenerationSettings()
  /// The size of a step.
  public var batch = BatchSettings()
  /// The optimizer and its schedule.
  public var optimizer = OptimizerSettings()
  /// The low-rank adapter; nil trains all weights.
  public var adapter: AdapterSettings?
  /// The number type of matrix products.
  public var precision = Precision.f32
  /// How long to train.
  public var length: RunLength
  /// When and how much to evaluate.
  public var evaluate = EvaluationSettings()
  /// What to write to `samples.jsonl`.
  public var samples = SampleSettings()
  /// When to save.
  public var checkpoint = CheckpointSettings()
  /// Where the reference's log-probabilities are kept.
  public var referenceCache = ReferenceCache.off
  /// Threads of a rank.
  public var threads = ThreadCount.auto
  /// Memory that a rank may use.
  public var memory = MemoryLimit.auto
  /// The seed of every draw except the evaluation split's.
  public var seed: UInt64 = 0
  /// The folder that the run writes.
  public var output: String
}

extension RunConfiguration {
  /// What is trained.
  public enum Method: String, Sendable, Equatable, CaseIterable {
    /// Supervised fine-tuning.
    case sft
    /// A reward model.
    case reward
    /// Direct preference optimization: `sail` with all fractions 0.
    case dpo
    /// Online alignment with self-improvement.
    case sail
  }

  /// The number type of matrix products: bf16 has f32 sums, master weights and residual stream.
  public typealias Precision = Tensor.Precision

  /// How long a run trains.
  public enum RunLength: Sendable, Equatable {
    /// Exactly this many optimizer steps.
    case steps(Int)
    /// This many passes over the training rows, stretched by the online fractions (SAIL.md §4).
    case epochs(Double)
  }
}

extension RunConfiguration {
  /// Whether the method compares the policy with a frozen reference, and may ask an oracle.
  var comparesWithReference: Bool { method == .dpo || method == .sail }
}

extension RunConfiguration {
  /// The longest run in epochs, so that a step count fits its number type.
  static let largestEpochs = 1e6

  /// Reads the whole file from its root mapping.
  init(reading root: ConfigurationSection) throws(ConfigurationError) {
    guard let model = root.value("model") else {
      throw root.missing("model", "give a Hugging Face folder")
    }
    self.model = try ModelSource(reading: model, in: root)
    method = try Method(required: root)
    reference = try root.text("reference", "a folder")
    data = try DataSettings(reading: root)
    objective = try ObjectiveSettings(reading: try root.section("objective"))
    sail = try SailSettings(reading: try root.section("sail"))
    oracle = try OracleSource.reading(root, beta: objective.beta)
    generation = try GenerationSettings(reading: try root.section("generation"))
    batch = try BatchSettings(reading: try root.section("batch"))
    optimizer = try OptimizerSettings(reading: try root.section("optimizer"))
    if root.value("adapter") != nil {
      adapter = try AdapterSettings(reading: try root.section("adapter"))
    }
    try root.read("precision", into: &precision)
    length = try RunLength(reading: root)
    evaluate = try EvaluationSettings(reading: try root.section("evaluate"))
    samples = try SampleSettings(reading: try root.section("samples"))
    checkpoint = try CheckpointSettings(reading: try root.section("checkpoint"))
    referenceCache = try ReferenceCache(reading: root)
    threads = try ThreadCount(reading: root)
    memory = try MemoryLimit(reading: root)
    try root.read("seed", into: &seed)
    output = try root.required("output", "a folder to write, such as runs/name")
  }
}

extension RunConfiguration.Method {
  init(required root: ConfigurationSection) throws(ConfigurationError) {
    guard root.value("method") != nil else {
      throw root.missing("method", "give one of sft, reward, dpo, sail")
    }
    self = .sail
    try root.read("method", into: &self)
  }
}

extension RunConfiguration.RunLength {
  init(reading root: ConfigurationSection) throws(ConfigurationError) {
    switch (root.value("steps"), root.value("epochs")) {
    case (let steps?, nil): self = .steps(try root.whole("steps", steps, atLeast: 1))
    case (nil, let epochs?):
      self = .epochs(
        try root.number("epochs", epochs, .aboveTo(0, RunConfiguration.largestEpochs)))
    case (nil, nil): throw root.missing("steps", "give steps or epochs")
    case (_?, let epochs?):
      throw ConfigurationError(
        epochs.place, "steps and epochs both say how long to train; keep one of them")
    }
  }
}
