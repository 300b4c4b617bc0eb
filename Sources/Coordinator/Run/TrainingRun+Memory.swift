import Comm
import Model

extension TrainingRun {
  /// Tells the decoders how much of a rank's memory activations and generation may take.
  ///
  /// What does not fit is computed again or generated later; no sum changes its order.
  /// - Throws: `ConfigurationError` if `memory` is less than what cannot be given up.
  func limitMemory(communicator: borrowing Communicator) throws {
    let floats = optimizer.arrays.count * optimizer.slice.count + accumulatorCount
    let fixed = memory.bytesPerRank + 4 * Double(floats)
    let machine = 0.9 * physicalMemoryBytes() / Double(communicator.nodeSize)
    var limit = machine
    if case .bytes(let bytes) = configuration.memory { limit = Double(bytes) }
    try communicator.agree {
      if case .bytes = configuration.memory, limit < fixed {
        throw ConfigurationError(
          "memory: \(configuration.memory.text) is less than the \(gigabytes(fixed)) that weights, "
            + "gradient and optimizer need on this rank; allow more, "
            + (memory.policy.adapter == nil ? "use an adapter or more ranks" : "or use more ranks"))
      }
    }
    let left = max(0, limit - fixed)
    worker.policy.activationLimit = Int(left / 2)
    // Where a text could depend on its neighbours, how many there are must not depend on memory.
    if worker.compute.isInvariant {
      worker.limitCaches(to: Int(min(left / 2, Double(Decoder.defaultCacheLimit))))
    }
  }
}
