import Foundation
import Model

/// A run's plan: what it needs and how long a step takes, from sizes and ceilings alone.
struct RunPlan {
  /// The machines that a plan is for.
  struct Cluster: Equatable {
    var rankCount: Int
    var nodeCount: Int
    var threads: Int
    /// Bytes of memory of a node.
    var memoryBytes: Double

    /// The ranks of the node that has most.
    var ranksOnNode: Int { (rankCount + nodeCount - 1) / nodeCount }
  }

  let configuration: RunConfiguration
  let models: PlannedModels
  let lengths: RowLengths
  let cluster: Cluster
  let work: PlannedStep
  let memory: MemoryPlan
  let step: StepPlan

  /// The plan of a run.
  ///
  /// - Parameters:
  ///   - configuration: the run file.
  ///   - models: their sizes.
  ///   - lengths: tokens of its rows.
  ///   - cluster: ranks, nodes, threads, memory.
  ///   - ceilings: what a node reaches.
  init(
    _ configuration: RunConfiguration, models: PlannedModels, lengths: RowLengths,
    cluster: Cluster, ceilings: Ceilings
  ) {
    self.configuration = configuration
    self.models = models
    self.lengths = lengths
    self.cluster = cluster
    work = PlannedStep(
      configuration, lengths: lengths, rankCount: cluster.rankCount,
      ranksOnNode: cluster.ranksOnNode)
    memory = MemoryPlan(
      configuration, models: models, step: work, nodeMemory: cluster.memoryBytes)
    step = StepPlan(
      configuration, models: models, step: work, memory: memory,
      nodeCount: cluster.nodeCount,
      speeds: Speeds(
        ceilings: ceilings, precision: configuration.precision, threads: cluster.threads,
        ranksOnNode: cluster.ranksOnNode))
  }

  /// Whether the memory of a node is enough.
  var fits: Bool { memory.nodeBytes <= cluster.memoryBytes }

  /// Bytes of one checkpoint: weights and optimizer state, which compression makes a little smaller.
  var checkpointBytes: Double {
    RunPlan.compression * Double(models.trainedFloats) * (4 + configuration.optimizer.stateBytes)
  }

  /// Bytes of all checkpoints that are kept, with the one that is being written.
  var checkpointsBytes: Double { Double(configuration.checkpoint.keep + 1) * checkpointBytes }

  /// Bytes of the exported model or adapter.
  var exportBytes: Double { Double(models.exportBytes * models.trainedFloats) }

  /// f32 numbers in byte planes under zstd, measured.
  static let compression = 0.85
}
