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

/// Where a table's numbers lie among the arrays of a node.
private struct NumberPlaces {
  /// Number of all.
  var count: Int
  /// How many of them, the first, products read in bf16; 0 in f32.
  var roundedCount = 0
  /// The others, in floats.
  var floats: Int
  /// The first in bf16, nil in f32.
  var rounded: Int?
  /// What rounding took from them, where they are trained; nil in f32.
  var remainders: Int?
}

/// Where a model's weights lie.
private struct WeightPlaces {
  var model: NumberPlaces
  var adapter: NumberPlaces?
}

/// The weights of a command or run in memory that the ranks of a node share.
///
/// Models of the same base weights have one copy of them, unless they are trained. They are read rather
/// than mapped: files are mostly in another number type, tensors lie otherwise than the products want
/// them, and a mapped file that is cut short ends the process with SIGBUS. In bf16, what is trained has
/// beside the numbers that products read what rounding took from each (``MasterWeights``).
struct ModelMemory {
  let memory: NodeMemory
  let precision: Precision
  let policy: DecoderWeights
  let reference: DecoderWeights?
  /// Further frozen models, in the order they were asked for.
  let others: [DecoderWeights]
  /// What is trained: the policy's weights, or its adapter; empty where nothing is.
  ///
  /// The slices of a node's own ranks are up to date, those of other nodes after
  /// ``publishRemainders(slices:)``.
  let trained: MasterWeights
  /// Index of the gradient in `memory`, if it was asked for.
  let gradientArray: Int
  /// A rank's own bytes and its share of what the node's ranks have together.
  let bytesPerRank: Double
  private let requests: [ModelRequest]
  private let places: [WeightPlaces]

  /// Allocates weights, not yet read, and a gradient if asked for.
  ///
  /// - Parameters:
  ///   - policy: the model that is trained or used.
  ///   - reference: the frozen model, nil for none.
  ///   - others: further frozen models.
  ///   - precision: type of what products read, the same on all ranks.
  ///   - hasGradient: whether each rank needs a gradient.
  ///   - communicator: all ranks; collective.
  /// - Throws: an error if a node lacks room.
  init(
    policy: ModelRequest, reference: ModelRequest?, others: [ModelRequest] = [],
    precision: Precision, hasGradient: Bool, communicator: borrowing Communicator
  ) throws {
    let requests = [policy] + (reference.map { [$0] } ?? []) + others
    self.requests = requests
    self.precision = precision
    var arrays: [NodeMemory.Request] = []
    func place(_ name: String, _ count: Int) -> Int {
      arrays.append((name, count, .perNode))
      return arrays.count - 1
    }
    func placeNumbers(
      _ name: String, count: Int, matrixCount: Int, isTrained: Bool
    ) -> NumberPlaces {
      if precision == .f32 { return NumberPlaces(count: count, floats: place(name, count)) }
      // Two halves take the place of a float.
      let halves = (matrixCount + 1) / 2
      return NumberPlaces(
        count: count, roundedCount: matrixCount, floats: place(name, count - matrixCount),
        rounded: place("\(name) in bf16", halves),
        remainders: isTrained ? place("\(name)'s remainders", halves) : nil)
    }
    var places: [WeightPlaces] = []
    for (index, request) in requests.enumerated() {
      let table = request.folder.table
      let shared = requests[..<index].indices.first { requests[$0].sharesWeights(with: request) }
      // Only the first, the policy, is trained: its adapter, if it has one.
      let isTrained = index == 0 && hasGradient
      let model =
        shared.map { places[$0].model }
        ?? placeNumbers(
          request.name, count: table.floatCount, matrixCount: table.matrixCount,
          isTrained: isTrained && request.adapter == nil)
      let adapter = request.adapter.map {
        placeNumbers(
          "\(request.name)'s adapter", count: $0.table.floatCount,
          matrixCount: $0.table.floatCount, isTrained: isTrained)
      }
      places.append(WeightPlaces(model: model, adapter: adapter))
    }
    gradientArray = arrays.count
    if hasGradient { arrays.append(("gradient", places[0].trained.count, .perRank)) }
    self.places = places
    let nodeSize = communicator.nodeSize
    let floats = arrays.reduce(0.0) {
      $0 + Double($1.count) * ($1.kind == .perRank ? Double(nodeSize) : 1)
    }
    bytesPerRank = 4 * floats / Double(nodeSize)
    try communicator.agree {
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
    for (request, own) in zip(requests, places) {
      weights.append(try own.weights(of: request, in: memory))
    }
    self.policy = weights[0]
    self.reference = reference == nil ? nil : weights[1]
    self.others = Array(weights.dropFirst(reference == nil ? 1 : 2))
    guard let weights = places[0].trained.masters(in: memory) else {
      throw ModelError("\(policy.folder.path): the model has no weights")
    }
    trained = hasGradient ? weights : weights[0..<0]
  }

  /// This rank's gradient.
  var gradient: UnsafeMutableBufferPointer<Float> { memory.own(gradientArray) }
}

extension WeightPlaces {
  /// What is trained of a model that is.
  var trained: NumberPlaces { adapter ?? model }

  func weights(
    of request: ModelRequest, in memory: NodeMemory
  ) throws(ModelError) -> DecoderWeights {
    let (configuration, table) = (request.folder.configuration, request.folder.table)
    var weights: AdapterWeights?
    if let wanted = request.adapter, let adapter {
      if let rounded = adapter.halves(adapter.rounded, in: memory) {
        weights = AdapterWeights(
          configuration: wanted.configuration, table: wanted.table, rounded: rounded)
      } else {
        weights = AdapterWeights(
          configuration: wanted.configuration, table: wanted.table,
          base: try adapter.base(of: request, in: memory))
      }
    }
    let floats = try model.base(of: request, in: memory)
    guard let rounded = model.halves(model.rounded, in: memory) else {
      return DecoderWeights(
        configuration: configuration, table: table, base: floats, adapter: weights)
    }
    return DecoderWeights(
      configuration: configuration, table: table, rounded: rounded, vectors: floats,
      adapter: weights)
  }
}

extension NumberPlaces {
  /// The numbers as an optimizer has them; without remainders only those that lie in floats.
  func masters(in memory: NodeMemory) -> MasterWeights? {
    guard let floats = memory.own(floats).baseAddress else { return nil }
    guard let rounded = halves(rounded, in: memory), let remainders = halves(remainders, in: memory)
    else { return MasterWeights(floats: floats, count: count - roundedCount) }
    return MasterWeights(
      rounded: rounded,
      remainders: UnsafeMutableRawPointer(remainders).assumingMemoryBound(to: Int16.self),
      splitCount: roundedCount, floats: floats, count: count)
  }

  /// The floats behind the numbers that are in bf16.
  func base(
    of request: ModelRequest, in memory: NodeMemory
  ) throws(ModelError) -> UnsafeMutablePointer<Float> {
    guard let base = memory.own(floats).baseAddress else {
      throw ModelError("\(request.folder.path): the model has no weights")
    }
    return base
  }

  /// An array of 16-bit numbers, nil for none.
  func halves(_ array: Int?, in memory: NodeMemory) -> UnsafeMutablePointer<UInt16>? {
    guard let base = array.flatMap({ memory.own($0).baseAddress }) else { return nil }
    return UnsafeMutableRawPointer(base).assumingMemoryBound(to: UInt16.self)
  }
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
    for (index, request) in requests.enumerated() {
      let earlier = requests[..<index].indices.first {
        requests[$0].hasSameStart(as: request)
      }
      if let earlier {
        let (from, to) = (places[earlier].model, places[index].model)
        if from.floats != to.floats, communicator.nodeRank == 0 {
          copyWeights(from: from, to: to, pool: pool)
        }
        try communicator.barrier()
      } else {
        try fillWeights(index, pool: pool, communicator: communicator)
      }
      try fillAdapter(index, communicator: communicator)
    }
  }

  /// Takes over the weights of a model that begins with the same ones.
  private func copyWeights(from source: NumberPlaces, to target: NumberPlaces, pool: ThreadPool) {
    copy(memory.own(source.floats), to: memory.own(target.floats), pool: pool)
    if let from = source.rounded, let to = target.rounded {
      copy(memory.own(from), to: memory.own(to), pool: pool)
    }
  }

  private func copy(
    _ source: UnsafeMutableBufferPointer<Float>, to target: UnsafeMutableBufferPointer<Float>,
    pool: ThreadPool
  ) {
    guard let from = source.baseAddress, let to = target.baseAddress else { return }
    nonisolated(unsafe) let (first, place) = (from, to)
    pool.forEachPart(of: target.count, multiple: 1024) { part, _ in
      (place + part.lowerBound).update(from: first + part.lowerBound, count: part.count)
    }
  }

  private func fillWeights(
    _ index: Int, pool: ThreadPool, communicator: borrowing Communicator
  ) throws {
    let folder = requests[index].folder
    switch folder.weightSource {
    case .folder(let path):
      let isReader = communicator.nodeRank == 0
      try communicator.agree {
        guard isReader else { return }
        let stored = try folder.storedWeights(in: path)
        try stored.readPieces(
          folder.storedPlacements, bufferCount: folder.table.floatCount,
          run: { count, task in pool.run(count) { index, _ in task(index) } }
        ) { store($0, at: $1, in: places[index].model) }
        guard let seed = folder.drawnHeadSeed else { return }
        initializeHead(
          table: folder.table, configuration: folder.configuration, seed: seed
        ) { store($0, at: $1, in: places[index].model) }
      }
    case .random(_, let seed):
      // Each rank of the node draws a part.
      initializeWeights(
        table: folder.table, configuration: folder.configuration, seed: seed,
        part: communicator.nodeRank, of: communicator.nodeSize, pool: pool
      ) { store($0, at: $1, in: places[index].model) }
    }
    try communicator.barrier()
  }

  /// Puts floats of one tensor where they lie, in memory that is zero still.
  private func store(
    _ floats: UnsafeBufferPointer<Float>, at offset: Int, in places: NumberPlaces
  ) {
    guard let source = floats.baseAddress else { return }
    if places.remainders != nil {
      places.masters(in: memory)?.fill(source, at: offset..<offset + floats.count)
    } else if offset < places.roundedCount {
      if let rounded = places.halves(places.rounded, in: memory) {
        roundToBF16(source, to: rounded + offset, count: floats.count)
      }
    } else if let target = memory.own(places.floats).baseAddress {
      (target + (offset - places.roundedCount)).update(from: source, count: floats.count)
    }
  }

  private func fillAdapter(_ index: Int, communicator: borrowing Communicator) throws {
    guard let wanted = requests[index].adapter, let places = places[index].adapter else { return }
    let isReader = communicator.nodeRank == 0
    try communicator.agree {
      guard isReader else { return }
      let numbers = FloatBuffer(count: places.count)
      let floats = UnsafeMutableBufferPointer(start: numbers.base, count: places.count)
      switch wanted.start {
      case .folder(let folder): try folder.read(into: floats)
      case .drawn(let seed): initializeAdapter(wanted.table, seed: seed, into: numbers.base)
      }
      store(UnsafeBufferPointer(floats), at: 0, in: places)
    }
    try communicator.barrier()
  }

  /// Makes what products read of every rank's slice visible to all; collective.
  ///
  /// - Parameter slices: the part of each rank, in rank order; they begin at even places.
  /// - Throws: an error of MPI.
  func publishTrained(slices: [Range<Int>]) throws {
    let places = places[0].trained
    let (rounded, count) = (places.roundedCount, places.count)
    try memory.publish(
      array: places.floats,
      slices: slices.map {
        let part = $0.clamped(to: rounded..<count)
        return part.lowerBound - rounded..<part.upperBound - rounded
      })
    try publishHalves(places.rounded, slices: slices)
  }

  /// Makes the rest of every rank's slice visible to all, for who reads ``trained`` beyond a rank's own
  /// slice; collective.
  ///
  /// - Parameter slices: as for ``publishTrained(slices:)``.
  /// - Throws: an error of MPI.
  func publishRemainders(slices: [Range<Int>]) throws {
    try publishHalves(places[0].trained.remainders, slices: slices)
  }

  private func publishHalves(_ array: Int?, slices: [Range<Int>]) throws {
    guard let array else { return }
    let count = places[0].trained.roundedCount
    // Two numbers a float; an odd end shares one with nobody.
    try memory.publish(
      array: array,
      slices: slices.map {
        let part = $0.clamped(to: 0..<count)
        return (part.lowerBound + 1) / 2..<(part.upperBound + 1) / 2
      })
  }
}
