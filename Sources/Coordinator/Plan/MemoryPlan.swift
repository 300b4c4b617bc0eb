import Model
import Tensor

/// The memory of a run, by kind, from its sizes alone.
struct MemoryPlan {
  /// Who holds a kind.
  enum Holder: String {
    case node = "once a node"
    case rank = "each rank"
    /// A rank its part of what all have.
    case slice = "each rank its slice"
  }

  /// One kind of memory.
  struct Item {
    var name: String
    /// Bytes of one copy, of a slice the largest.
    var bytes: Double
    var holder: Holder
    /// Whether it follows from the sizes alone, and not from lengths of rows.
    var isExact = true
  }

  var items: [Item] = []
  var ranksOnNode: Int
  /// Whether layers run again in the backward, as their values do not fit.
  private(set) var recomputesLayers = false
  /// Sequences that decode together; the others wait for a place.
  private(set) var sequencesAtOnce = 0.0

  /// Bytes of one rank: its own and what its node shares.
  var rankBytes: Double { items.reduce(0) { $0 + $1.bytes } }

  /// Bytes of a node.
  var nodeBytes: Double { items.reduce(0) { $0 + bytes(of: $1) } }

  /// Bytes of a kind on a node.
  func bytes(of item: Item) -> Double {
    item.bytes * (item.holder == .node ? 1 : Double(ranksOnNode))
  }

  /// Bytes that a run cannot do without: what is exact, and half of what is estimated.
  var leastBytes: Double {
    items.reduce(0) { $0 + bytes(of: $1) * ($1.isExact ? 1 : 0.5) }
  }

  /// Bytes of shared memory that the ranks of a node need; none for one rank.
  var sharedBytes: Double {
    guard ranksOnNode > 1 else { return 0 }
    return items.reduce(0) { $0 + ($1.isInWindow ? bytes(of: $1) : 0) }
  }
}

extension MemoryPlan.Item {
  /// Whether it lies in the memory that the ranks of a node share.
  var isInWindow: Bool { holder == .node || name == MemoryPlan.gradientName }
}

extension MemoryPlan {
  static let gradientName = "gradient"

  /// Bytes of the program, its libraries, the tokenizer and the row index, about.
  static let programBytes = 250e6

  /// The memory of a run.
  ///
  /// - Parameters:
  ///   - configuration: the run file.
  ///   - models: their sizes.
  ///   - step: the work of a step.
  ///   - nodeMemory: bytes of a node's memory, by which training limits activations and caches.
  init(
    _ configuration: RunConfiguration, models: PlannedModels, step: PlannedStep,
    nodeMemory: Double
  ) {
    ranksOnNode = step.ranksOnNode
    let precision = configuration.precision
    addWeights(models, precision)
    let trained = Double(models.trainedFloats)
    let ranks = Double(step.rankCount)
    add(Self.gradientName, 4 * trained, .rank)
    add(
      "optimizer, \(configuration.optimizer.name.rawValue)",
      configuration.optimizer.stateBytes * trained / ranks, .slice)
    if step.rankCount > 1 { add("sum of gradients", 4 * trained / ranks, .slice) }
    // As `TrainingRun.limitMemory` does.
    var limit = 0.9 * nodeMemory / Double(ranksOnNode)
    if case .bytes(let bytes) = configuration.memory { limit = Double(bytes) }
    let left = max(0, limit - nodeBytes / Double(ranksOnNode))
    addActivations(models, step: step, precision, limit: left / 2)
    addGeneration(models, step, precision, limit: left / 2)
    add("program", Self.programBytes, .rank, isExact: false)
  }

  private mutating func add(
    _ name: String, _ bytes: Double, _ holder: Holder, isExact: Bool = true
  ) {
    if bytes > 0 { items.append(Item(name: name, bytes: bytes, holder: holder, isExact: isExact)) }
  }

  /// Weights, as products read them; in bf16 beside what is trained what rounding took from it.
  private mutating func addWeights(_ models: PlannedModels, _ precision: Precision) {
    let type = precision.rawValue
    func addRemainders(_ name: String, _ count: Int) {
      if precision == .bf16 { add("\(name)'s remainders to f32", 2 * Double(count), .node) }
    }
    func addModel(_ name: String, _ model: PlannedModels.Model) {
      // Vectors stay f32.
      let vectors = Double(model.floatCount - model.matrixCount)
      add(
        "\(name), \(type)", 4 * vectors + Double(precision.byteCount * model.matrixCount), .node)
    }
    if let adapter = models.adapterFloats {
      addModel("policy's base", models.policy)
      add("adapter, \(type)", Double(precision.byteCount * adapter), .node)
      addRemainders("adapter", adapter)
    } else {
      addModel("policy", models.policy)
      addRemainders("policy", models.policy.matrixCount)
    }
    if let reference = models.reference, !models.referenceIsShared {
      addModel("reference", reference)
    }
    for oracle in models.oracles { addModel(oracle.name, oracle) }
  }

  private mutating func addActivations(
    _ models: PlannedModels, step: PlannedStep, _ precision: Precision, limit: Double
  ) {
    let decoder = models.policy.configuration
    let rows = step.packedOfLargestGroup
    let layer = rows * Double(decoder.activationBytes(precision))
    recomputesLayers = Double(decoder.layerCount) * layer > limit
    add(
      recomputesLayers ? "layers' inputs, kept" : "activations kept for the backward",
      rows * Double(decoder.inputBytes)
        + (recomputesLayers ? layer : Double(decoder.layerCount) * layer), .rank, isExact: false)
    let others = (models.reference.map { [$0] } ?? []) + models.oracles
    let work =
      decoder.backwardBytes(precision)
      + others.reduce(0) { $0 + $1.configuration.forwardBytes(precision) }
    add("one layer's work", rows * Double(work), .rank, isExact: false)
    let predictions = step.predictionsOfLargestGroup
    add(
      "logits and head rows",
      predictions * Double(decoder.headRowBytes(precision))
        + decoder.logitsBytes(predictions: predictions), .rank, isExact: false)
  }

  private mutating func addGeneration(
    _ models: PlannedModels, _ step: PlannedStep, _ precision: Precision, limit: Double
  ) {
    guard let generation = step.generation else { return }
    let one = generation.cacheBytes(of: models.policy.configuration, precision)
    let most = min(limit, Double(Decoder.defaultCacheLimit))
    sequencesAtOnce = max(1, min(generation.sequences, (most / one).rounded(.down)))
    add("keys and values while generating", sequencesAtOnce * one, .rank, isExact: false)
  }
}

extension RunConfiguration.OptimizerSettings {
  /// Bytes of the optimizer's state for each trained number.
  var stateBytes: Double {
    let velocity = momentum > 0 ? 4.0 : 0
    switch name {
    case .adamw: return 8
    case .rmsprop: return 4 + velocity
    case .sgd: return velocity
    }
  }
}
