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
/// several. Matrices, which products read, come first, norms, biases and a score's weights behind them,
/// so that what is in bf16 is the first part. Every block starts on a multiple of 16 floats; the gaps are
/// zero and stay zero.
public struct ParameterTable: Sendable {
  /// The tensors, layer by layer.
  public private(set) var parameters: [Parameter] = []
  /// Floats in the allocation, gaps included.
  public private(set) var floatCount = 0
  /// Floats before the first vector: those of the matrices, gaps included; a multiple of 16.
  public private(set) var matrixCount = 0
  /// Offsets of the layers' tensors.
  public private(set) var layers: [LayerOffsets] = []
  /// Floats of the layers' matrices, gaps included.
  private(set) var layerMatrices = 0..<0
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
    // Once to learn where the matrices end, once with the vectors behind them.
    var table = ParameterTable(matrixCount: 0)
    table.place(configuration)
    let end = table.floatCount - table.vectorCount
    self.init(matrixCount: end)
    place(configuration)
  }

  private init(matrixCount: Int) { self.matrixCount = matrixCount }

  /// Floats of the vectors placed so far, gaps included.
  private var vectorCount = 0

  private mutating func place(_ c: DecoderConfiguration) {
    let hidden = c.hiddenSize
    embedding = placeMatrices([("model.embed_tokens.weight", [c.vocabularySize, hidden])])
    let firstMatrix = floatCount
    for layer in 0..<c.layerCount {
      let prefix = "model.layers.\(layer)."
      var offsets = LayerOffsets()
      offsets.attentionNorm = placeVectors([(prefix + "input_layernorm.weight", [hidden])])
      offsets.projections[0] = place(.queryKeyValue, of: c, layer: layer)
      if c.family.normsHeads {
        offsets.queryNorm = placeVectors([(prefix + "self_attn.q_norm.weight", [c.heads.size])])
        offsets.keyNorm = placeVectors([(prefix + "self_attn.k_norm.weight", [c.heads.size])])
      }
      offsets.projections[1] = place(.attentionOutput, of: c, layer: layer)
      offsets.mlpNorm = placeVectors([(prefix + "post_attention_layernorm.weight", [hidden])])
      offsets.projections[2] = place(.gateUp, of: c, layer: layer)
      offsets.projections[3] = place(.down, of: c, layer: layer)
      layers.append(offsets)
    }
    layerMatrices = firstMatrix..<floatCount
    finalNorm = placeVectors([("model.norm.weight", [hidden])])
    switch c.head {
    case .vocabulary where c.tiesEmbeddings: head = embedding
    case .vocabulary: head = placeMatrices([("lm_head.weight", [c.vocabularySize, hidden])])
    case .score(let score):
      head = placeVectors([(score.name + ".weight", [1, hidden])])
      if score.hasBias { headBias = placeVectors([(score.name + ".bias", [1])]) }
    }
    floatCount += vectorCount
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

  /// Places matrices one behind the other from the next multiple of 16 floats.
  private mutating func placeMatrices(_ tensors: [(name: String, shape: [Int])]) -> Int {
    let start = floatCount
    floatCount = place(tensors, from: start)
    return start
  }

  /// Places vectors behind all matrices, from the next multiple of 16 floats.
  private mutating func placeVectors(_ tensors: [(name: String, shape: [Int])]) -> Int {
    let start = matrixCount + vectorCount
    vectorCount = place(tensors, from: start) - matrixCount
    return start
  }

  /// Places tensors one behind the other; returns the next multiple of 16 floats.
  private mutating func place(_ tensors: [(name: String, shape: [Int])], from start: Int) -> Int {
    var end = start
    for tensor in tensors {
      let parameter = Parameter(name: tensor.name, shape: tensor.shape, offset: end)
      parameters.append(parameter)
      end += parameter.count
    }
    return (end + 15) / 16 * 16
  }

  /// Places a projection's weights and its biases.
  private mutating func place(
    _ projection: Projection, of c: DecoderConfiguration, layer: Int
  ) -> ProjectionOffsets {
    let prefix = "model.layers.\(layer)."
    let parts = c.parts(of: projection)
    let inputs = c.inputs(of: projection)
    var offsets = ProjectionOffsets()
    offsets.weight = placeMatrices(
      parts.map { (prefix + $0.name + ".weight", [$0.outputs, inputs]) })
    if c.hasBias(projection) {
      offsets.bias = placeVectors(parts.map { (prefix + $0.name + ".bias", [$0.outputs]) })
    }
    return offsets
  }
}
