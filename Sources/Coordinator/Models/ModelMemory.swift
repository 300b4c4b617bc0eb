import Checkpoint
import Comm
import Model
import Tensor

/// A model that a command or run needs in memory.
struct ModelRequest {
  /// Its part, for messages.
  var name: String
  var folder: ModelFolder
  /// The adapter on it; nil for none.
  var adapter: AdapterRequest?
  /// Whether the weights will change, so that no other model can share them.
  var changesWeights = false
}

extension ModelRequest {
  /// A model that is used as its folder is.
  init(_ name: String, frozen folder: ModelFolder) {
    self.init(
      name: name, folder: folder,
      adapter: folder.adapter.map {
        AdapterRequest(configuration: $0.configuration, table: $0.table, start: .folder($0))
      })
  }
}

/// An adapter that a command or run needs in memory.
struct AdapterRequest {
  /// What it begins as.
  enum Start {
    /// As a folder has it.
    case folder(AdapterFolder)
    /// As one that changes nothing, drawn by a seed.
    case drawn(seed: UInt64)
  }

  var configuration: AdapterConfiguration
  var table: AdapterTable
  var start: Start
}

/// The weights of a command or run in memory that the ranks of a node share.
///
/// Models of the same base weights have one copy of them, unless they are trained. They are read rather
/// than mapped: files are mostly in another number type, tensors lie otherwise than the products want
/// them, and a mapped file that is cut short ends the process with SIGBUS.
struct ModelMemory {
  let memory: NodeMemory
  let policy: DecoderWeights
  let reference: DecoderWeights?
  /// Further frozen models, in the order they were asked for.
  let others: [DecoderWeights]
  /// Index in `memory` of what is trained: the policy's weights, or its adapter.
  let trainedArray: Int
  /// Index of the gradient in `memory`, if it was asked for.
  let gradientArray: Int
  private let requests: [ModelRequest]
  /// Index in `memory` of each request's weights.
  private let places: [Int]

  /// Allocates weights, not yet read, and a gradient if asked for.
  ///
  /// - Parameters:
  ///   - policy: the model that is trained or used.
  ///   - reference: the frozen model, nil for none.
  ///   - others: further frozen models.
  ///   - hasGradient: whether each rank needs a gradient.
  ///   - communicator: all ranks; collective.
  /// - Throws: an error if a node lacks room.
  init(
    policy: ModelRequest, reference: ModelRequest?, others: [ModelRequest] = [],
    hasGradient: Bool, communicator: borrowing Communicator
  ) throws {
    let requests = [policy] + (reference.map { [$0] } ?? []) + others
    self.requests = requests
    var arrays: [NodeMemory.Request] = []
    var places: [Int] = []
    var adapters: [Int?] = []
    for (index, request) in requests.enumerated() {
      let shared = requests[..<index].indices.first { requests[$0].sharesWeights(with: request) }
      if let shared {
        places.append(places[shared])
      } else {
        places.append(arrays.count)
        arrays.append((request.name, request.folder.table.floatCount, .perNode))
      }
      adapters.append(request.adapter == nil ? nil : arrays.count)
      if let adapter = request.adapter {
        arrays.append(("\(request.name)'s adapter", adapter.table.floatCount, .perNode))
      }
    }
    trainedArray = adapters[0] ?? places[0]
    gradientArray = arrays.count
    if hasGradient { arrays.append(("gradient", arrays[trainedArray].count, .perRank)) }
    self.places = places
    let nodeSize = communicator.nodeSize
    try communicator.agree {
      let floats = arrays.reduce(0.0) {
        $0 + Double($1.count) * ($1.kind == .perRank ? Double(nodeSize) : 1)
      }
      let machine = physicalMemoryBytes()
      guard 4 * floats <= machine else {
        throw ConfigurationError(
          "\(policy.folder.path): weights and gradients need \(gigabytes(4 * floats)) on this node, "
            + "which has \(gigabytes(machine)) of memory; use a smaller model, an adapter, fewer "
            + "ranks a node or a larger machine")
      }
    }
    let memory = try NodeMemory(communicator: communicator, arrays: arrays)
    self.memory = memory
    var weights: [DecoderWeights] = []
    for (index, request) in requests.enumerated() {
      weights.append(
        try Self.weights(
          request, memory.own(places[index]), adapter: adapters[index].map { memory.own($0) }))
    }
    self.policy = weights[0]
    self.reference = reference == nil ? nil : weights[1]
    self.others = Array(weights.dropFirst(reference == nil ? 1 : 2))
  }

  private static func weights(
    _ request: ModelRequest, _ memory: UnsafeMutableBufferPointer<Float>,
    adapter: UnsafeMutableBufferPointer<Float>?
  ) throws(ModelError) -> DecoderWeights {
    guard let base = memory.baseAddress else {
      throw ModelError("\(request.folder.path): the model has no weights")
    }
    var adapterWeights: AdapterWeights?
    if let wanted = request.adapter, let place = adapter?.baseAddress {
      adapterWeights = AdapterWeights(
        configuration: wanted.configuration, table: wanted.table, base: place)
    }
    return DecoderWeights(
      configuration: request.folder.configuration, table: request.folder.table, base: base,
      adapter: adapterWeights)
  }

  /// What is trained: the policy's weights, or its adapter.
  var trained: UnsafeMutableBufferPointer<Float> { memory.own(trainedArray) }

  /// This rank's gradient.
  var gradient: UnsafeMutableBufferPointer<Float> { memory.own(gradientArray) }
}

extension ModelRequest {
  /// Whether a later model can read this one's weights.
  fileprivate func sharesWeights(with other: ModelRequest) -> Bool {
    !changesWeights && !other.changesWeights && hasSameStart(as: other)
  }

  /// Whether two models begin with the same weights.
  fileprivate func hasSameStart(as other: ModelRequest) -> Bool {
    folder.weightSource == other.folder.weightSource
      && folder.configuration == other.folder.configuration
      && folder.drawnHeadSeed == other.folder.drawnHeadSeed
  }
}

extension ModelMemory {
  /// Reads or draws the weights of all models into the node's copies; collective.
  func fill(pool: ThreadPool, communicator: borrowing Communicator) throws {
    let models = [policy] + (reference.map { [$0] } ?? []) + others
    for (index, request) in requests.enumerated() {
      let earlier = requests[..<index].indices.first {
        requests[$0].hasSameStart(as: request)
      }
      if let earlier {
        if places[earlier] != places[index], communicator.nodeRank == 0 {
          models[index].base.update(
            from: models[earlier].base, count: models[index].table.floatCount)
        }
        try communicator.barrier()
      } else {
        try fillWeights(models[index], request, pool: pool, communicator: communicator)
      }
      try fillAdapter(models[index], request, communicator: communicator)
    }
  }

  private func fillWeights(
    _ weights: DecoderWeights, _ request: ModelRequest, pool: ThreadPool,
    communicator: borrowing Communicator
  ) throws {
    let isReader = communicator.nodeRank == 0
    switch request.folder.weightSource {
    case .folder(let path):
      try communicator.agree {
        guard isReader else { return }
        let stored = try request.folder.storedWeights(in: path)
        try stored.read(
          request.folder.storedPlacements,
          into: UnsafeMutableBufferPointer(start: weights.base, count: weights.table.floatCount))
        if let seed = request.folder.drawnHeadSeed {
          initializeHead(
            weights.base, table: weights.table, configuration: weights.configuration, seed: seed)
        }
      }
    case .random(_, let seed):
      // Each rank of the node draws a part.
      initializeWeights(
        weights.base, table: weights.table, configuration: weights.configuration, seed: seed,
        part: communicator.nodeRank, of: communicator.nodeSize, pool: pool)
    }
    try communicator.barrier()
  }

  private func fillAdapter(
    _ weights: DecoderWeights, _ request: ModelRequest, communicator: borrowing Communicator
  ) throws {
    guard let adapter = weights.adapter, let start = request.adapter?.start else { return }
    let isReader = communicator.nodeRank == 0
    try communicator.agree {
      guard isReader else { return }
      switch start {
      case .folder(let folder):
        try folder.read(
          into: UnsafeMutableBufferPointer(start: adapter.base, count: adapter.table.floatCount))
      case .drawn(let seed): adapter.initialize(seed: seed)
      }
    }
    try communicator.barrier()
  }
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
