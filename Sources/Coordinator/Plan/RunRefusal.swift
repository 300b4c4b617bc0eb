import Comm
import Tensor

/// Refuses a run that cannot fit this node, before anything of it is allocated; collective.
///
/// - Parameters:
///   - configuration: the run file.
///   - sources: its models.
///   - rows: its training rows, of which the first tell the lengths.
///   - precision: what products will read.
///   - communicator: all ranks.
/// - Throws: `ConfigurationError` with what to change.
func refuseTooLarge(
  _ configuration: RunConfiguration, sources: RunSources, rows: TrainingData,
  precision: Precision, communicator: borrowing Communicator
) throws {
  var configuration = configuration
  configuration.precision = precision
  let (rankCount, ranksOnNode) = (communicator.size, communicator.nodeSize)
  try communicator.agree {
    let sample = try (0..<min(rows.count, RowLengths.sampleCount)).map { try rows.record($0) }
    let lengths = RowLengths(
      sample, fallback: configuration.generation.maxNewTokens, source: "of the data")
    try refuseTooLarge(
      configuration, models: PlannedModels(sources), lengths: lengths, rankCount: rankCount,
      ranksOnNode: ranksOnNode, memoryBytes: physicalMemoryBytes())
  }
}

/// Refuses a run that cannot fit a node of so many bytes.
///
/// What follows from sizes counts whole, what is estimated from the first rows' lengths half: a run
/// that fits is never refused, one that barely does not may begin.
/// - Parameters:
///   - configuration: the run file.
///   - models: their sizes.
///   - lengths: tokens of its rows.
///   - rankCount: all ranks.
///   - ranksOnNode: those of this node.
///   - memoryBytes: of this node.
/// - Throws: `ConfigurationError` with what to change.
func refuseTooLarge(
  _ configuration: RunConfiguration, models: PlannedModels, lengths: RowLengths, rankCount: Int,
  ranksOnNode: Int, memoryBytes: Double
) throws(ConfigurationError) {
  let step = PlannedStep(
    configuration, lengths: lengths, rankCount: rankCount, ranksOnNode: ranksOnNode)
  let memory = MemoryPlan(
    configuration, models: models, step: step, nodeMemory: memoryBytes)
  guard memory.leastBytes > memoryBytes else { return }
  let largest = memory.items.max { memory.bytes(of: $0) < memory.bytes(of: $1) }
  let alternatives = MemoryPlan.alternatives(
    configuration, models: models, lengths: lengths, rankCount: rankCount,
    ranksOnNode: ranksOnNode, nodeMemory: memoryBytes)
  throw ConfigurationError(
    "the run needs about \(gigabytes(memory.nodeBytes)) on a node, which has "
      + "\(gigabytes(memoryBytes)) of memory; the largest part is "
      + "\(largest.map { "\($0.name), \(gigabytes(memory.bytes(of: $0)))" } ?? "unknown"); "
      + remedies(alternatives, memoryBytes: memoryBytes) + " (`sail plan` shows all)")
}
