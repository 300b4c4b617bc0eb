import Tensor

/// One tensor of a decoder: its name in a Hugging Face folder, its shape and its place.
public struct Parameter: Sendable {
  /// Name, as transformers writes it.
  public var name: String
  /// Shape, rows first.
  public var shape: [Int]
  /// First float in the flat allocation.
  public var offset: Int
  /// Number of floats.
  public var count: Int { shape.reduce(1, *) }
}

/// Where every tensor of a decoder lies in one flat allocation.
///
/// Weights, gradient and moments all use this one table. Queries, keys and values lie together, as
/// do gate and up, so that each is one product, whether a folder holds them as one tensor or as
/// several. Every block starts on a multiple of 16 floats; the gaps are zero and stay zero.
public struct ParameterTable: Sendable {
  /// The tensors in order of their offsets.
  public private(set) var parameters: [Parameter] = []
  /// Floats in the allocation, gaps included.
  public private(set) var floatCount = 0
  /// Offsets of the layers' tensors.
  public private(set) var layers: [LayerOffsets] = []
  /// Offset of the embedding (V, C).
  public private(set) var embedding = 0
  /// Offset of the last norm's weight (C).
  public private(set) var finalNorm = 0
  /// Offset of the head's matrix: the vocabulary projection (V, C), the embedding's if tied, or the
  /// weights of a score (1, C).
  public private(set) var head = 0
  /// Offset of a score's bias (1), nil if there is none.
  public private(set) var headBias: Int?

  /// Offsets of one layer's tensors, nil where the decoder has no such tensor.
  public struct LayerOffsets: Sendable {
    var attentionNorm = 0
    var queryNorm: Int?
    var keyNorm: Int?
    var mlpNorm = 0
    fileprivate(set) var projections = [ProjectionOffsets](
      repeating: ProjectionOffsets(), count: Projection.allCases.count)

    subscript(_ projection: Projection) -> ProjectionOffsets { projections[projection.rawValue] }
  }

  /// Offsets of a projection's weight and, where it has one, its bias.
  struct ProjectionOffsets: Sendable {
    var weight = 0
    var bias: Int?
  }

  /// The table of a decoder.
  public init(_ configuration: DecoderConfiguration) {
    let c = configuration
    let hidden = c.hiddenSize
    embedding = place([("model.embed_tokens.weight", [c.vocabularySize, hidden])])
    for layer in 0..<c.layerCount {
      let prefix = "model.layers.\(layer)."
      var offsets = LayerOffsets()
      offsets.attentionNorm = place([(prefix + "input_layernorm.weight", [hidden])])
      offsets.projections[0] = place(.queryKeyValue, of: c, layer: layer)
      if c.family.normsHeads {
        offsets.queryNorm = place([(prefix + "self_attn.q_norm.weight", [c.heads.size])])
        offsets.keyNorm = place([(prefix + "self_attn.k_norm.weight", [c.heads.size])])
      }
      offsets.projections[1] = place(.attentionOutput, of: c, layer: layer)
      offsets.mlpNorm = place([(prefix + "post_attention_layernorm.weight", [hidden])])
      offsets.projections[2] = place(.gateUp, of: c, layer: layer)
      offsets.projections[3] = place(.down, of: c, layer: layer)
      layers.append(offsets)
    }
    finalNorm = place([("model.norm.weight", [hidden])])
    switch c.head {
    case .vocabulary where c.tiesEmbeddings: head = embedding
    case .vocabulary: head = place([("lm_head.weight", [c.vocabularySize, hidden])])
    case .score(let score):
      head = place([(score.name + ".weight", [1, hidden])])
      if score.hasBias { headBias = place([(score.name + ".bias", [1])]) }
    }
  }

  /// Number of trainable parameters, gaps not counted.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

  /// Whether the vocabulary projection is the embedding.
  public var isTied: Bool { head == embedding }

  /// Indices of the head's own tensors, which come last; none if it is tied.
  public var headParameters: Range<Int> {
    let first = isTied ? nil : parameters.firstIndex { $0.offset == head }
    return (first ?? parameters.count)..<parameters.count
  }

  /// An upper bound of a table's floats, nil if it overflows or exceeds 2⁴⁰.
  static func floatCount(of c: DecoderConfiguration) -> Int? {
    func product(_ a: Int, _ b: Int) -> Double { Double(a) * Double(b) }
    let attention = Double(c.heads.fusedColumns + c.heads.queryCount * c.heads.size)
    let layer =
      attention * Double(c.hiddenSize + 1) + 3 * product(c.intermediateSize, c.hiddenSize + 1)
      + 4 * Double(c.hiddenSize) + 2 * Double(c.heads.size) + 256
    let all = layer * Double(c.layerCount) + 2 * product(c.vocabularySize, c.hiddenSize)
    return all < 1_099_511_627_776 ? Int(all) : nil
  }

  /// Places tensors one behind the other from the next multiple of 16 floats.
  private mutating func place(_ tensors: [(name: String, shape: [Int])]) -> Int {
    let start = (floatCount + 15) / 16 * 16
    floatCount = start
    for tensor in tensors {
      let parameter = Parameter(name: tensor.name, shape: tensor.shape, offset: floatCount)
      parameters.append(parameter)
      floatCount += parameter.count
    }
    return start
  }

  /// Places a projection's weights, then its biases.
  private mutating func place(
    _ projection: Projection, of c: DecoderConfiguration, layer: Int
  ) -> ProjectionOffsets {
    let prefix = "model.layers.\(layer)."
    let parts = c.parts(of: projection)
    let inputs = c.inputs(of: projection)
    var offsets = ProjectionOffsets()
    offsets.weight = place(parts.map { (prefix + $0.name + ".weight", [$0.outputs, inputs]) })
    if c.hasBias(projection) {
      offsets.bias = place(parts.map { (prefix + $0.name + ".bias", [$0.outputs]) })
    }
    return offsets
  }
}

/// Fills part of a flat allocation with random weights as transformers initialises a decoder.
///
/// Matrices are normal with the configuration's `initializer_range`, biases 0, norm weights 1. Each
/// number is keyed by (seed, tensor, index), so that all parts together are the same for any cut.
/// - Parameters:
///   - weights: the flat allocation.
///   - table: where each tensor lies.
///   - configuration: the decoder.
///   - seed: seed of the weights.
///   - part: this part's number, from 0.
///   - partCount: how many parts there are.
///   - pool: the threads.
public func initializeWeights(
  _ weights: UnsafeMutablePointer<Float>, table: ParameterTable,
  configuration: DecoderConfiguration, seed: UInt64, part: Int = 0, of partCount: Int = 1,
  pool: ThreadPool = ThreadPool(threadCount: 1)
) {
  for number in table.parameters.indices {
    initializeTensor(
      number, weights, table: table, configuration: configuration, seed: seed, part: part,
      of: partCount, pool: pool)
  }
}

/// Fills the tensors of a decoder's own head as ``initializeWeights(_:table:configuration:seed:part:of:pool:)``
/// does, and nothing else.
public func initializeHead(
  _ weights: UnsafeMutablePointer<Float>, table: ParameterTable,
  configuration: DecoderConfiguration, seed: UInt64
) {
  for number in table.headParameters {
    initializeTensor(
      number, weights, table: table, configuration: configuration, seed: seed, part: 0, of: 1,
      pool: ThreadPool(threadCount: 1))
  }
}

private func initializeTensor(
  _ number: Int, _ weights: UnsafeMutablePointer<Float>, table: ParameterTable,
  configuration: DecoderConfiguration, seed: UInt64, part: Int, of partCount: Int,
  pool: ThreadPool
) {
  let random = KeyedRandom(seed: seed, purpose: .initialization)
  let parameter = table.parameters[number]
  let target = weights + parameter.offset
  if parameter.shape.count > 1 {
    let pairCount = (parameter.count + 1) / 2
    let pairs = pairCount * part / partCount..<pairCount * (part + 1) / partCount
    pool.forEachPart(of: pairs.count) { range, _ in
      fillNormal(
        target, count: parameter.count, deviation: configuration.initializerRange,
        random: random, key: number,
        pairs: pairs.lowerBound + range.lowerBound..<pairs.lowerBound + range.upperBound)
    }
  } else if part == 0 {
    let isNorm = parameter.name.hasSuffix("norm.weight")
    target.update(repeating: isNorm ? 1 : 0, count: parameter.count)
  }
}
