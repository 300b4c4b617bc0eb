import Model
import Tensor

/// The work of a step by phase, over all ranks, and the seconds that it takes.
struct StepPlan {
  /// One phase; ranks work on it at once.
  struct Phase {
    var name: String
    /// Operations of products with weights and of attention, over all ranks.
    var operations = 0.0
    /// Bytes that are moved besides, over all ranks: weights read to decode, gradients, moments.
    var bytes = 0.0
    /// Seconds of the rank that has most to do.
    var seconds = 0.0
  }

  private(set) var phases: [Phase] = []
  /// What the seconds leave out, for the report.
  private(set) var remarks: [String] = []

  var operations: Double { phases.reduce(0) { $0 + $1.operations } }
  var seconds: Double { phases.reduce(0) { $0 + $1.seconds } }

  /// Bytes a second between nodes, where nothing was measured: Ethernet of 10 Gbit/s.
  static let networkRate = 1.1e9

  /// The work of a run's step.
  ///
  /// - Parameters:
  ///   - configuration: the run file.
  ///   - models: their sizes.
  ///   - step: rows, groups, ranks.
  ///   - memory: what is held at once.
  ///   - nodeCount: over how many nodes the ranks are spread.
  ///   - speeds: of a rank.
  init(
    _ configuration: RunConfiguration, models: PlannedModels, step: PlannedStep,
    memory: MemoryPlan, nodeCount: Int, speeds: Speeds
  ) {
    let precision = speeds.precision
    let cost = PackedCost(step: step, speeds: speeds, precision: precision)
    addGeneration(models, step, atOnce: memory.sequencesAtOnce, speeds)
    for oracle in models.oracles {
      let share = configuration.sail.dpr.fraction
      let scored = oracle.configuration.scoreHead != nil
      if share > 0 {
        add("label: \(oracle.name)", cost.forward(of: oracle.configuration, scored: scored), share)
      }
    }
    if case .command? = configuration.oracle, configuration.sail.dpr.fraction > 0 {
      remarks.append("the oracle's own time is not counted")
    }
    if let reference = models.reference {
      add("reference", cost.forward(of: reference.configuration))
      if configuration.referenceCache != .off {
        remarks.append("rows that reference_cache holds save the reference's time")
      }
    }
    add(
      "policy forward", cost.forward(of: models.policy.configuration, adapter: models.adapterFloats)
    )
    add(
      "policy backward",
      cost.backward(of: models.policy.configuration, adapter: models.adapterFloats))
    if memory.recomputesLayers {
      add("layers again", cost.layers(of: models.policy.configuration, models.adapterFloats))
    }
    addSum(models, step, nodeCount: nodeCount, speeds)
    addOptimizer(configuration, models, step, speeds)
  }

  private mutating func add(_ name: String, _ phase: Phase, _ share: Double = 1) {
    phases.append(
      Phase(
        name: name, operations: share * phase.operations, bytes: share * phase.bytes,
        seconds: share * phase.seconds))
  }

  /// Prompts through the layers, then token after token for all sequences that decode together.
  private mutating func addGeneration(
    _ models: PlannedModels, _ step: PlannedStep, atOnce: Double, _ speeds: Speeds
  ) {
    guard let online = step.onlineRows, let generation = step.generation else { return }
    let decoder = models.policy.configuration
    let (body, head) = (Double(decoder.bodyProductWeights), Double(decoder.headProductWeights))
    let rows = generation.prompts * generation.promptTokens
    let attention = decoder.attentionOperations(
      prompt: generation.promptTokens, completions: [])
    phases.append(
      Phase(
        name: "prompts", operations: online.count * (2 * body * online.prompt + attention),
        seconds: speeds.seconds(.forward, weights: body, rows: rows)
          + generation.prompts * attention / speeds.attentionRate))

    // A sequence sees on average the prompt and half of its own tokens.
    let seen = Int(generation.promptTokens + generation.newTokens / 2)
    let cache = atOnce * Double(decoder.cacheBytes(speeds.precision, positions: seen))
    let weightBytes = (body + head) * Double(speeds.precision.byteCount)
    let stepSeconds =
      speeds.seconds(.forward, weights: body + head, rows: atOnce)
      + cache / speeds.bandwidth(.read)
      + atOnce * Double(decoder.vocabularySize) * Speeds.logitSeconds / Double(speeds.threads)
    let steps = generation.newTokens * (generation.sequences / atOnce).rounded(.up)
    let drawn = online.predictions * online.count
    phases.append(
      Phase(
        name: "decoding", operations: drawn * 2 * (body + head),
        bytes: drawn / atOnce * (weightBytes + cache), seconds: steps * stepSeconds))
    remarks.append("every completion is taken to have \(Int(generation.newTokens)) tokens")
  }

  /// The ordered sum, wave after wave, and the new weights for all nodes.
  private mutating func addSum(
    _ models: PlannedModels, _ step: PlannedStep, nodeCount: Int, _ speeds: Speeds
  ) {
    guard step.rankCount > 1 else { return }
    let bytes = 4 * Double(models.trainedFloats)
    let contributions = Double(step.groups) * bytes
    let ranks = Double(step.rankCount)
    let nodes = Double(nodeCount)
    // A rank clears its sum and reads its slice of every group's gradient.
    let rate = speeds.ceilings.sumRate ?? 0.7 * speeds.bandwidth(.triad) * Double(step.ranksOnNode)
    var seconds = contributions / nodes / rate
    seconds += bytes / ranks / speeds.bandwidth(.triad)
    var moved = contributions + bytes
    if nodeCount > 1 {
      // New weights go as products read them.
      let weights = Double(speeds.precision.byteCount * models.trainedFloats)
      let crossing = contributions * (nodes - 1) / nodes + weights * (nodes - 1)
      seconds += crossing / nodes / StepPlan.networkRate
      moved += crossing
      remarks.append("a network of \(StepPlan.networkRate / 1e9) GB/s between nodes is assumed")
    }
    phases.append(Phase(name: "sum of gradients", bytes: moved, seconds: seconds))
  }

  /// Norm and update of this rank's slice.
  private mutating func addOptimizer(
    _ configuration: RunConfiguration, _ models: PlannedModels, _ step: PlannedStep,
    _ speeds: Speeds
  ) {
    // Read for the norm; then gradient and state are read, state and weights written.
    let bytes =
      Double(models.trainedFloats) * (4 + 4 + 8 + 2 * configuration.optimizer.stateBytes)
    phases.append(
      Phase(
        name: "optimizer", bytes: bytes,
        seconds: bytes / Double(step.rankCount) / speeds.bandwidth(.triad)))
  }
}
