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

/// Where a model's weights lie among the arrays of a node.
private struct WeightPlaces {
  /// The floats: all of the table, or the vectors alone where products read a bf16 copy and nothing
  /// trains the floats.
  var floats = 0
  /// The matrices in bf16, nil in f32.
  var rounded: Int?
  var adapter: Int?
  var roundedAdapter: Int?
}

/// The weights of a command or run in memory that the ranks of a node share.
///
/// Models of the same base weights have one copy of them, unless they are trained. They are read rather
/// than mapped: files are mostly in another number type, tensors lie otherwise than the products want
/// them, and a mapped file that is cut short ends the process with SIGBUS. In bf16, what is trained has
/// floats (master weights) and a copy that products read; what is frozen has the copy alone.
struct ModelMemory {
  let memory: NodeMemory
  let precision: Precision
  let policy: DecoderWeights
  let reference: DecoderWeights?
  /// Further frozen models, in the order they were asked for.
  let others: [DecoderWeights]
  /// Index in `memory` of what is trained: the policy's weights, or its adapter.
  let trainedArray: Int
  /// What is trained, in floats.
  let trained: UnsafeMutableBufferPointer<Float>
  /// The first float of `trained`.
  let trainedBase: UnsafeMutablePointer<Float>
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
    // Two bf16 numbers take the place of a float.
    func placeRounded(_ name: String, _ count: Int) -> Int? {
      precision == .f32 ? nil : place("\(name) in bf16", (count + 1) / 2)
    }
    var places: [WeightPlaces] = []
    for (index, request) in requests.enumerated() {
      var own = WeightPlaces()
      let table = request.folder.table
      let shared = requests[..<index].indices.first { requests[$0].sharesWeights(with: request) }
      if let shared {
        own = places[shared]
      } else {
        let isWhole = precision == .f32 || request.changesWeights
        own.floats = place(
          request.name, isWhole ? table.floatCount : table.floatCount - table.matrixCount)
        own.rounded = placeRounded(request.name, table.matrixCount)
      }
      own.adapter = request.adapter.map {
        place("\(request.name)'s adapter", $0.table.floatCount)
      }
      own.roundedAdapter = request.adapter.flatMap {
        placeRounded("\(request.name)'s adapter", $0.table.floatCount)
      }
      places.append(own)
    }
    trainedArray = places[0].adapter ?? places[0].floats
    gradientArray = arrays.count
    if hasGradient { arrays.append(("gradient", arrays[trainedArray].count, .perRank)) }
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
    trained = memory.own(trainedArray)
    trainedBase = try base(trained, of: policy)
  }

  /// This rank's gradient.
  var gradient: UnsafeMutableBufferPointer<Float> { memory.own(gradientArray) }
}

extension WeightPlaces {
  func weights(
    of request: ModelRequest, in memory: NodeMemory
  ) throws(ModelError) -> DecoderWeights {
    let (configuration, table) = (request.folder.configuration, request.folder.table)
    let floats = try base(memory.own(self.floats), of: request)
    let adapter = try request.adapter.flatMap { wanted throws(ModelError) in
      try self.adapter.map { index throws(ModelError) in
        AdapterWeights(
          configuration: wanted.configuration, table: wanted.table,
          base: try base(memory.own(index), of: request),
          rounded: try roundedAdapter.map { index throws(ModelError) in
            bf16(try base(memory.own(index), of: request))
          })
      }
    }
    guard let rounded else {
      return DecoderWeights(
        configuration: configuration, table: table, base: floats, adapter: adapter)
    }
    return DecoderWeights(
      configuration: configuration, table: table,
      rounded: bf16(try base(memory.own(rounded), of: request)),
      vectors: floats + (request.changesWeights ? table.matrixCount : 0), adapter: adapter)
  }
}

private func base(
  _ memory: UnsafeMutableBufferPointer<Float>, of request: ModelRequest
) throws(ModelError) -> UnsafeMutablePointer<Float> {
  guard let base = memory.baseAddress else {
    throw ModelError("\(request.folder.path): the model has no weights")
  }
  return base
}

private func bf16(_ memory: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<UInt16> {
  UnsafeMutableRawPointer(memory).assumingMemoryBound(to: UInt16.self)
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
        if places[earlier].floats != places[index].floats, communicator.nodeRank == 0 {
          copyWeights(from: earlier, to: index, pool: pool)
        }
        try communicator.barrier()
      } else {
        try fillWeights(index, pool: pool, communicator: communicator)
      }
      try fillAdapter(index, communicator: communicator)
    }
  }

  /// Takes over the weights of a model that begins with the same ones.
  private func copyWeights(from earlier: Int, to index: Int, pool: ThreadPool) {
    let (source, target) = (memory.own(places[earlier].floats), memory.own(places[index].floats))
    // All floats, or those of the vectors, which stand last.
    copy(source.suffix(target.count), to: target, pool: pool)
    if let from = places[earlier].rounded, let to = places[index].rounded {
      copy(memory.own(from)[...], to: memory.own(to), pool: pool)
    }
  }

  private func copy(
    _ source: Slice<UnsafeMutableBufferPointer<Float>>,
    to target: UnsafeMutableBufferPointer<Float>, pool: ThreadPool
  ) {
    guard let from = UnsafeMutableBufferPointer(rebasing: source).baseAddress,
      let to = target.baseAddress
    else { return }
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
        ) { store($0, at: $1, of: index) }
        guard let seed = folder.drawnHeadSeed else { return }
        initializeHead(
          table: folder.table, configuration: folder.configuration, seed: seed
        ) { store($0, at: $1, of: index) }
      }
    case .random(_, let seed):
      // Each rank of the node draws a part.
      initializeWeights(
        table: folder.table, configuration: folder.configuration, seed: seed,
        part: communicator.nodeRank, of: communicator.nodeSize, pool: pool
      ) { store($0, at: $1, of: index) }
    }
    try communicator.barrier()
  }

  /// Puts floats of one tensor where they lie: as floats, rounded, or both.
  private func store(_ floats: UnsafeBufferPointer<Float>, at offset: Int, of index: Int) {
    guard let source = floats.baseAddress, let own = memory.own(places[index].floats).baseAddress
    else { return }
    let matrixCount = requests[index].folder.table.matrixCount
    let isWhole = places[index].rounded == nil || requests[index].changesWeights
    if isWhole {
      (own + offset).update(from: source, count: floats.count)
    } else if offset >= matrixCount {
      (own + offset - matrixCount).update(from: source, count: floats.count)
    }
    if offset < matrixCount, let rounded = places[index].rounded,
      let base = memory.own(rounded).baseAddress
    {
      roundToBF16(source, to: bf16(base) + offset, count: floats.count)
    }
  }

  private func fillAdapter(_ index: Int, communicator: borrowing Communicator) throws {
    guard let wanted = requests[index].adapter, let place = places[index].adapter else { return }
    let floats = memory.own(place)
    let isReader = communicator.nodeRank == 0
    try communicator.agree {
      guard isReader, let base = floats.baseAddress else { return }
      switch wanted.start {
      case .folder(let folder): try folder.read(into: floats)
      case .drawn(let seed):
        AdapterWeights(configuration: wanted.configuration, table: wanted.table, base: base)
          .initialize(seed: seed)
      }
      guard let rounded = places[index].roundedAdapter,
        let target = memory.own(rounded).baseAddress
      else { return }
      roundToBF16(base, to: bf16(target), count: floats.count)
    }
    try communicator.barrier()
  }

  /// Makes every rank's slice of what is trained visible to all, in both number types; collective.
  func publishTrained(
    slices: [Range<Int>], pool: ThreadPool, communicator: borrowing Communicator
  ) throws {
    try memory.publish(array: trainedArray, slices: slices)
    try roundTrained(pool: pool, communicator: communicator)
  }

  /// Renews the bf16 copy of what is trained, each rank of the node a part; collective.
  private func roundTrained(pool: ThreadPool, communicator: borrowing Communicator) throws {
    guard let rounded = places[0].roundedAdapter ?? places[0].rounded else { return }
    let count =
      places[0].adapter == nil ? requests[0].folder.table.matrixCount : trained.count
    let (part, parts) = (communicator.nodeRank, communicator.nodeSize)
    // Parts begin on a multiple of 64 numbers.
    let blocks = (count + 63) / 64
    let first = blocks * part / parts * 64
    let last = min(count, blocks * (part + 1) / parts * 64)
    try communicator.barrier()
    if let target = memory.own(rounded).baseAddress {
      nonisolated(unsafe) let (source, copy) = (trainedBase, bf16(target))
      pool.forEachPart(of: max(0, last - first), multiple: 64) { part, _ in
        let start = first + part.lowerBound
        roundToBF16(source + start, to: copy + start, count: part.count)
      }
    }
    try communicator.barrier()
  }
}
