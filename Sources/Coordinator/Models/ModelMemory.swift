import Checkpoint
import Comm
import Model
import Tensor

/// The weights of a command or run in memory that the ranks of a node share.
struct ModelMemory {
  let memory: NodeMemory
  let policy: DecoderWeights
  let reference: DecoderWeights?
  /// Further frozen models, in the order they were asked for.
  let others: [DecoderWeights]
  /// Index of the policy in `memory`.
  static let policyArray = 0
  /// Index of the gradient in `memory`, if it was asked for.
  let gradientArray: Int

  /// Allocates weights, not yet read, and a gradient if asked for.
  ///
  /// - Parameters:
  ///   - policy: the model that is trained or used.
  ///   - reference: the frozen model, nil for none.
  ///   - others: further frozen models with names for messages.
  ///   - hasGradient: whether each rank needs a gradient.
  ///   - communicator: all ranks; collective.
  /// - Throws: an error if a node lacks room.
  init(
    policy: ModelFolder, reference: ModelFolder?,
    others: [(name: String, folder: ModelFolder)] = [], hasGradient: Bool,
    communicator: borrowing Communicator
  ) throws {
    var arrays: [NodeMemory.Request] = [("policy", policy.table.floatCount, .perNode)]
    if let reference { arrays.append(("reference", reference.table.floatCount, .perNode)) }
    let firstOther = arrays.count
    arrays += others.map { ($0.name, $0.folder.table.floatCount, .perNode) }
    gradientArray = arrays.count
    if hasGradient { arrays.append(("gradient", policy.table.floatCount, .perRank)) }
    let nodeSize = communicator.nodeSize
    try communicator.agree {
      let floats = arrays.reduce(0.0) {
        $0 + Double($1.count) * ($1.kind == .perRank ? Double(nodeSize) : 1)
      }
      let machine = physicalMemoryBytes()
      guard 4 * floats <= machine else {
        throw ConfigurationError(
          "\(policy.path): weights and gradients need \(gigabytes(4 * floats)) on this node, which "
            + "has \(gigabytes(machine)) of memory; use a smaller model, fewer ranks a node or a "
            + "larger machine")
      }
    }
    let memory = try NodeMemory(communicator: communicator, arrays: arrays)
    self.memory = memory
    self.policy = try Self.weights(policy, memory.own(0))
    self.reference = try reference.map { try Self.weights($0, memory.own(1)) }
    self.others = try others.enumerated().map { index, other in
      try Self.weights(other.folder, memory.own(firstOther + index))
    }
  }

  private static func weights(
    _ folder: ModelFolder, _ memory: UnsafeMutableBufferPointer<Float>
  ) throws(ModelError) -> DecoderWeights {
    guard let base = memory.baseAddress else {
      throw ModelError("\(folder.path): the model has no weights")
    }
    return DecoderWeights(configuration: folder.configuration, table: folder.table, base: base)
  }

  /// This rank's gradient.
  var gradient: UnsafeMutableBufferPointer<Float> { memory.own(gradientArray) }
}

/// Reads a folder's weights into the node's copy; collective.
func readWeights(
  of folder: ModelFolder, into weights: DecoderWeights, communicator: borrowing Communicator
) throws {
  let isReader = communicator.nodeRank == 0
  try communicator.agree {
    if isReader {
      let stored = try folder.storedWeights()
      try stored.read(
        folder.placements,
        into: UnsafeMutableBufferPointer(
          start: weights.base, count: folder.table.floatCount))
    }
  }
  try communicator.barrier()
}

/// Fills the node's copy with random weights, each rank a part; collective.
func drawWeights(
  _ weights: DecoderWeights, seed: UInt64, pool: ThreadPool,
  communicator: borrowing Communicator
) throws {
  initializeWeights(
    weights.base, table: weights.table, configuration: weights.configuration, seed: seed,
    part: communicator.nodeRank, of: communicator.nodeSize, pool: pool)
  try communicator.barrier()
}

/// Threads of this rank: as asked, else its share of the CPUs that it may use.
///
/// Ranks that mpirun bound have CPUs of their own; unbound ranks of a node share all. Far more threads
/// than CPUs are refused: they only wait for each other.
func threadCount(
  _ asked: RunConfiguration.ThreadCount, communicator: borrowing Communicator
) throws -> Int {
  switch asked {
  case .count(let count):
    let limit = 4 * Compute.onlineCPUCount
    try communicator.agree {
      guard count <= limit else {
        throw ConfigurationError(
          "threads must be at most \(limit), four for each CPU of this machine, found \(count)")
      }
    }
    return count
  case .auto:
    let available = Compute.availableCPUCount
    let isShared = communicator.nodeSize > 1 && available >= Compute.onlineCPUCount
    return max(1, isShared ? available / communicator.nodeSize : available)
  }
}
