import JSONText
import Tensor

/// Why a model cannot be used.
public struct ModelError: Error, CustomStringConvertible, Sendable {
  /// A sentence: what, where, expected, found.
  public let description: String

  /// An error from its sentence.
  public init(_ description: String) { self.description = description }
}

/// Sizes and constants of a decoder.
public struct DecoderConfiguration: Sendable, Equatable {
  /// The architecture.
  public var family: DecoderFamily
  /// What follows the last norm.
  public var head: DecoderHead
  /// Rows of the embedding, V.
  public var vocabularySize: Int
  /// Width of the residual stream, C.
  public var hiddenSize: Int
  /// Width of the gated unit, I.
  public var intermediateSize: Int
  /// Number of layers.
  public var layerCount: Int
  /// Query, key and value heads.
  public var heads: AttentionHeads
  /// Whether queries, keys and values have a bias.
  public var hasQueryKeyValueBias: Bool
  /// Whether the attention's output projection has a bias.
  public var hasAttentionOutputBias: Bool
  /// Whether gate, up and down projections have a bias.
  public var hasMLPBias: Bool
  /// Positions that each layer sees, its own included; nil: all before it.
  public var windows: [Int?]
  /// ε of the norms.
  public var normEpsilon: Float
  /// The rotary embedding.
  public var rotary: RotaryEmbedding
  /// Sequences beyond this have another rotary embedding, which is not implemented; nil for none.
  public var positionLimit: PositionLimit?
  /// Whether the vocabulary projection is the embedding.
  public var tiesEmbeddings: Bool
  /// Standard deviation of random initial weights.
  public var initializerRange: Double
}

/// The length up to which a rotary embedding does not depend on the whole sequence.
public struct PositionLimit: Sendable, Equatable {
  /// The most positions of a sequence.
  public var count: Int
  /// What begins beyond, for messages.
  public var reason: String
}

extension DecoderConfiguration {
  /// Reads a Hugging Face `config.json`.
  ///
  /// - Parameters:
  ///   - json: the file's content.
  ///   - source: the file's name, for messages.
  /// - Throws: `ModelError` naming what is missing, out of range or not implemented.
  public init(json: JSON, source: String) throws(ModelError) {
    let reader = ConfigurationReader(json: json, source: source)
    guard json.members != nil else {
      throw ModelError("\(source): expected a JSON object, found \(json.kind)")
    }
    family = try reader.family()
    head = try reader.head(family)
    try reader.refuseOtherComputations()

    vocabularySize = try reader.size("vocab_size", limit: 1 << 24)
    hiddenSize = try reader.size("hidden_size", limit: 1 << 20)
    intermediateSize = try reader.size("intermediate_size", limit: 1 << 22)
    layerCount = try reader.size("num_hidden_layers", limit: 4096)
    heads = try reader.heads(family, hiddenSize: hiddenSize)
    (hasQueryKeyValueBias, hasAttentionOutputBias, hasMLPBias) = try reader.biases(family)
    windows = try reader.windows(family, layerCount: layerCount)
    let epsilon = try reader.positive("rms_norm_eps", default: family.defaultEpsilon)
    normEpsilon = Float(epsilon)
    // Also after rounding: rows of zeros are divided by its root.
    guard normEpsilon.isNormal else {
      throw ModelError("\(source): rms_norm_eps \(epsilon) is out of the range of 32-bit floats")
    }
    (rotary, positionLimit) = try reader.rotary(family, headSize: heads.size)
    tiesEmbeddings = try reader.boolean("tie_word_embeddings")
    initializerRange = try reader.positive("initializer_range", default: 0.02)
    guard ParameterTable.floatCount(of: self) != nil else {
      throw ModelError("\(source): the model's sizes overflow")
    }
  }
}

// What the families differ in.
extension ConfigurationReader {
  fileprivate func family() throws(ModelError) -> DecoderFamily {
    let type = try string("model_type")
    guard let family = DecoderFamily.all.first(where: { $0.modelType == type }) else {
      throw unsupported(
        "model_type", "\"\(type)\"",
        supported: DecoderFamily.all.map { "\"\($0.modelType)\"" }.joined(separator: ", "))
    }
    return family
  }

  /// Refuses by name what would be computed otherwise than the families here are.
  fileprivate func refuseOtherComputations() throws(ModelError) {
    let activation = try string("hidden_act", default: "silu")
    guard activation == "silu" else {
      throw unsupported("hidden_act", "\"\(activation)\"", supported: "\"silu\"")
    }
    for key in ["quantization_config", "num_experts", "num_local_experts", "alibi"] {
      guard let value = json[key], !value.isNull, value.boolean != false, value.number != 0 else {
        continue
      }
      let found = value.members == nil ? value.text : "set"
      throw unsupported(key, found, supported: "dense decoders with plain weights")
    }
  }

  fileprivate func heads(_ family: DecoderFamily, hiddenSize: Int) throws(ModelError)
    -> AttentionHeads
  {
    let queryCount = try size("num_attention_heads", limit: 65536)
    // A key that is there but null means as many as query heads.
    let fallback = json["num_key_value_heads"] == nil ? family.defaultKeyValueHeadCount : nil
    let keyValueCount = try size(
      "num_key_value_heads", limit: 65536, default: fallback ?? queryCount)
    guard queryCount % keyValueCount == 0 else {
      throw ModelError(
        "\(source): num_attention_heads (\(queryCount)) must be a multiple of "
          + "num_key_value_heads (\(keyValueCount))")
    }
    let sizeFallback = json["head_dim"] == nil ? family.defaultHeadSize : nil
    guard
      hiddenSize % queryCount == 0 || json["head_dim"]?.integer != nil || sizeFallback != nil
    else {
      throw ModelError(
        "\(source): hidden_size (\(hiddenSize)) must be a multiple of num_attention_heads "
          + "(\(queryCount))")
    }
    let headSize = try size(
      "head_dim", limit: 65536, default: sizeFallback ?? max(1, hiddenSize / queryCount))
    guard headSize % 2 == 0 else {
      throw ModelError("\(source): the head size must be even, found \(headSize)")
    }
    return AttentionHeads(queryCount: queryCount, keyValueCount: keyValueCount, size: headSize)
  }

  fileprivate func biases(_ family: DecoderFamily) throws(ModelError)
    -> (queryKeyValue: Bool, attentionOutput: Bool, mlp: Bool)
  {
    switch family.biases {
    case .none: return (false, false, false)
    case .queryKeyValue: return (true, false, false)
    case .configured(let hasMLPKey):
      let attention = try boolean("attention_bias")
      let mlp = try boolean("mlp_bias")
      return (attention, attention, hasMLPKey && mlp)
    }
  }

  fileprivate func windows(_ family: DecoderFamily, layerCount: Int) throws(ModelError) -> [Int?] {
    let types = try strings("layer_types")
    if let type = types.first(where: { $0 != "full_attention" && $0 != "sliding_attention" }) {
      throw unsupported(
        "layer_types", "\"\(type)\"", supported: "\"full_attention\", \"sliding_attention\"")
    }
    guard types.isEmpty || types.count == layerCount else {
      throw ModelError(
        "\(source): layer_types has \(types.count) entries, but num_hidden_layers is \(layerCount)")
    }
    switch family.windows {
    case .none:
      guard !types.contains("sliding_attention") else {
        throw unsupported(
          "layer_types", "\"sliding_attention\"",
          supported: "\"full_attention\" for \(family.modelType)")
      }
      return Array(repeating: nil, count: layerCount)
    case .everyLayer(let missing):
      let window = try optionalSize("sliding_window", limit: 1 << 40, missing: missing)
      // Every layer is alike here; a list that says otherwise is of another architecture.
      guard types.isEmpty || Set(types) == [window == nil ? "full_attention" : "sliding_attention"]
      else {
        throw unsupported(
          "layer_types", "of several kinds",
          supported: "one kind of layer for \(family.modelType), as sliding_window says")
      }
      return Array(repeating: window, count: layerCount)
    case .upperLayers:
      // Qwen writes sliding_window always; it is in force only with use_sliding_window.
      let isUsed = try boolean("use_sliding_window")
      let window = try optionalSize("sliding_window", limit: 1 << 40, missing: 4096)
      guard isUsed, let window else {
        guard !types.contains("sliding_attention") else {
          throw ModelError(
            "\(source): layer_types has \"sliding_attention\", but use_sliding_window or "
              + "sliding_window says that there is none")
        }
        return Array(repeating: nil, count: layerCount)
      }
      if !types.isEmpty { return types.map { $0 == "sliding_attention" ? window : nil } }
      let first = try wholeNumber("max_window_layers", default: 28)
      return (0..<layerCount).map { $0 >= first ? window : nil }
    }
  }
}
