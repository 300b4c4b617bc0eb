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
  /// Offset of the vocabulary projection (V, C); the embedding's if tied.
  public private(set) var head = 0

  /// Offsets of one layer's tensors, nil where the decoder has no such tensor.
  public struct LayerOffsets: Sendable {
    var attentionNorm = 0
    var queryKeyValue = 0
    var queryKeyValueBias: Int?
    var queryNorm: Int?
    var keyNorm: Int?
    var attentionOutput = 0
    var attentionOutputBias: Int?
    var mlpNorm = 0
    var gateUp = 0
    var gateUpBias: Int?
    var down = 0
    var downBias: Int?
  }

  /// The table of a decoder.
  public init(_ configuration: DecoderConfiguration) {
    let c = configuration
    let hidden = c.hiddenSize
    let queries = c.heads.queryCount * c.heads.size
    embedding = place([("model.embed_tokens.weight", [c.vocabularySize, hidden])])
    for layer in 0..<c.layerCount {
      let prefix = "model.layers.\(layer)."
      let attention = prefix + "self_attn."
      let mlp = prefix + "mlp."
      var offsets = LayerOffsets()
      offsets.attentionNorm = place([(prefix + "input_layernorm.weight", [hidden])])
      offsets.queryKeyValue = place(c.queryKeyValueParts, in: attention, inputs: hidden)
      if c.hasQueryKeyValueBias {
        offsets.queryKeyValueBias = placeBiases(c.queryKeyValueParts, in: attention)
      }
      if c.family.normsHeads {
        offsets.queryNorm = place([(attention + "q_norm.weight", [c.heads.size])])
        offsets.keyNorm = place([(attention + "k_norm.weight", [c.heads.size])])
      }
      let output = [("o_proj", hidden)]
      offsets.attentionOutput = place(output, in: attention, inputs: queries)
      if c.hasAttentionOutputBias {
        offsets.attentionOutputBias = placeBiases(output, in: attention)
      }
      offsets.mlpNorm = place([(prefix + "post_attention_layernorm.weight", [hidden])])
      offsets.gateUp = place(c.gateUpParts, in: mlp, inputs: hidden)
      if c.hasMLPBias { offsets.gateUpBias = placeBiases(c.gateUpParts, in: mlp) }
      let down = [("down_proj", hidden)]
      offsets.down = place(down, in: mlp, inputs: c.intermediateSize)
      if c.hasMLPBias { offsets.downBias = placeBiases(down, in: mlp) }
      layers.append(offsets)
    }
    finalNorm = place([("model.norm.weight", [hidden])])
    head =
      c.tiesEmbeddings ? embedding : place([("lm_head.weight", [c.vocabularySize, hidden])])
  }

  /// Number of trainable parameters, gaps not counted.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

  /// Whether the vocabulary projection is the embedding.
  public var isTied: Bool { head == embedding }

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

  /// Places linear layers that are one product; `parts` are their names and outputs.
  private mutating func place(
    _ parts: [(name: String, outputs: Int)], in prefix: String, inputs: Int
  ) -> Int {
    place(parts.map { (prefix + $0.name + ".weight", [$0.outputs, inputs]) })
  }

  /// Places the biases of linear layers that are one product.
  private mutating func placeBiases(
    _ parts: [(name: String, outputs: Int)], in prefix: String
  ) -> Int {
    place(parts.map { (prefix + $0.name + ".bias", [$0.outputs]) })
  }
}

extension DecoderConfiguration {
  /// The linear layers that make queries, keys and values, as the family's folders hold them.
  var queryKeyValueParts: [(name: String, outputs: Int)] {
    let keys = heads.keyValueCount * heads.size
    return family.fusesProjections
      ? [("qkv_proj", heads.fusedColumns)]
      : [("q_proj", heads.queryCount * heads.size), ("k_proj", keys), ("v_proj", keys)]
  }

  /// The linear layers that make gate and up, as the family's folders hold them.
  var gateUpParts: [(name: String, outputs: Int)] {
    family.fusesProjections
      ? [("gate_up_proj", 2 * intermediateSize)]
      : [("gate_proj", intermediateSize), ("up_proj", intermediateSize)]
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
  let random = KeyedRandom(seed: seed, purpose: .initialization)
  for (number, parameter) in table.parameters.enumerated() {
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
}
