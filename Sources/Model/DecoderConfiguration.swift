import JSONText
import Tensor

/// Why a model cannot be used.
public struct ModelError: Error, CustomStringConvertible, Sendable {
  /// A sentence: what, where, expected, found.
  public let description: String

  /// An error from its sentence.
  public init(_ description: String) { self.description = description }
}

/// Sizes and constants of a decoder of the Qwen2 family (Qwen1.5, Qwen2, Qwen2.5).
public struct DecoderConfiguration: Sendable, Equatable {
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
  /// ε of the norms.
  public var normEpsilon: Float
  /// Base of the rotary embedding.
  public var rotaryBase: Double
  /// Whether the vocabulary projection is the embedding.
  public var tiesEmbeddings: Bool
  /// Standard deviation of random initial weights.
  public var initializerRange: Double

  /// Two configurations are equal if all their sizes and constants are.
  public static func == (a: DecoderConfiguration, b: DecoderConfiguration) -> Bool {
    a.vocabularySize == b.vocabularySize && a.hiddenSize == b.hiddenSize
      && a.intermediateSize == b.intermediateSize && a.layerCount == b.layerCount
      && a.heads.queryCount == b.heads.queryCount
      && a.heads.keyValueCount == b.heads.keyValueCount && a.heads.size == b.heads.size
      && a.normEpsilon == b.normEpsilon && a.rotaryBase == b.rotaryBase
      && a.tiesEmbeddings == b.tiesEmbeddings
  }
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
    let type = try reader.string("model_type")
    guard type == "qwen2" else {
      throw reader.unsupported("model_type", "\"\(type)\"", supported: "\"qwen2\"")
    }
    if let architecture = try reader.strings("architectures").first,
      architecture != "Qwen2ForCausalLM"
    {
      throw reader.unsupported(
        "architectures", "\"\(architecture)\"", supported: "\"Qwen2ForCausalLM\"")
    }
    let activation = try reader.string("hidden_act", default: "silu")
    guard activation == "silu" else {
      throw reader.unsupported("hidden_act", "\"\(activation)\"", supported: "\"silu\"")
    }
    if json["quantization_config"].map({ !$0.isNull }) ?? false {
      throw reader.unsupported("quantization_config", "set", supported: "plain weights")
    }
    // Qwen writes sliding_window always; it is in force only with use_sliding_window.
    if try reader.boolean("use_sliding_window") {
      throw reader.unsupported("use_sliding_window", "true", supported: "full attention")
    }
    if let layer = try reader.strings("layer_types").first(where: { $0 != "full_attention" }) {
      throw reader.unsupported("layer_types", "\"\(layer)\"", supported: "\"full_attention\"")
    }

    vocabularySize = try reader.size("vocab_size", limit: 1 << 24)
    hiddenSize = try reader.size("hidden_size", limit: 1 << 20)
    intermediateSize = try reader.size("intermediate_size", limit: 1 << 22)
    layerCount = try reader.size("num_hidden_layers", limit: 4096)
    let queryCount = try reader.size("num_attention_heads", limit: 65536)
    let keyValueCount = try reader.size(
      "num_key_value_heads", limit: 65536, default: queryCount)
    guard queryCount % keyValueCount == 0 else {
      throw ModelError(
        "\(source): num_attention_heads (\(queryCount)) must be a multiple of "
          + "num_key_value_heads (\(keyValueCount))")
    }
    guard hiddenSize % queryCount == 0 || json["head_dim"]?.integer != nil else {
      throw ModelError(
        "\(source): hidden_size (\(hiddenSize)) must be a multiple of num_attention_heads "
          + "(\(queryCount))")
    }
    let headSize = try reader.size(
      "head_dim", limit: 65536, default: max(1, hiddenSize / queryCount))
    guard headSize % 2 == 0 else {
      throw ModelError("\(source): the head size must be even, found \(headSize)")
    }
    heads = AttentionHeads(
      queryCount: queryCount, keyValueCount: keyValueCount, size: headSize)
    let epsilon = try reader.positive("rms_norm_eps", default: 1e-6)
    normEpsilon = Float(epsilon)
    // Also after rounding: rows of zeros are divided by its root.
    guard normEpsilon.isNormal else {
      throw ModelError("\(source): rms_norm_eps \(epsilon) is out of the range of 32-bit floats")
    }
    rotaryBase = try reader.rotaryBase()
    tiesEmbeddings = try reader.boolean("tie_word_embeddings")
    initializerRange = try reader.positive("initializer_range", default: 0.02)
    guard ParameterTable.floatCount(of: self) != nil else {
      throw ModelError("\(source): the model's sizes overflow")
    }
  }
}

private struct ConfigurationReader {
  let json: JSON
  let source: String

  func unsupported(_ key: String, _ found: String, supported: String) -> ModelError {
    ModelError("\(source): \(key) \(found) is not implemented; Sail supports \(supported)")
  }

  func string(_ key: String, default fallback: String? = nil) throws(ModelError) -> String {
    switch json[key] {
    case .some(.string(let text)): return text
    case nil, .some(.null):
      guard let fallback else { throw ModelError("\(source): the key \"\(key)\" is missing") }
      return fallback
    case .some(let other):
      throw ModelError("\(source): \(key) must be a string, found \(other.kind)")
    }
  }

  /// False where the key is missing.
  func boolean(_ key: String) throws(ModelError) -> Bool {
    guard let value = json[key], !value.isNull else { return false }
    guard let boolean = value.boolean else {
      throw ModelError("\(source): \(key) must be true or false, found \(value.text)")
    }
    return boolean
  }

  /// None where the key is missing.
  func strings(_ key: String) throws(ModelError) -> [String] {
    guard let value = json[key], !value.isNull else { return [] }
    let texts = value.elements?.compactMap(\.string)
    guard let texts, texts.count == value.elements?.count else {
      throw ModelError("\(source): \(key) must be an array of strings, found \(value.text)")
    }
    return texts
  }

  func size(_ key: String, limit: Int, default fallback: Int? = nil) throws(ModelError) -> Int {
    switch json[key] {
    case .some(.integer(let value)):
      guard value >= 1, value <= Int64(limit) else {
        throw ModelError("\(source): \(key) must be between 1 and \(limit), found \(value)")
      }
      return Int(value)
    case nil, .some(.null):
      guard let fallback else { throw ModelError("\(source): the key \"\(key)\" is missing") }
      return fallback
    case .some(let other):
      throw ModelError("\(source): \(key) must be a whole number, found \(other.kind)")
    }
  }

  func positive(_ key: String, default fallback: Double) throws(ModelError) -> Double {
    try positive(json[key], key, default: fallback)
  }

  private func positive(
    _ value: JSON?, _ key: String, default fallback: Double
  ) throws(ModelError) -> Double {
    guard let value, !value.isNull else { return fallback }
    guard let number = value.number, number.isFinite, number > 0 else {
      throw ModelError("\(source): \(key) must be a positive number, found \(value.text)")
    }
    return number
  }

  /// `rope_theta` at the top, or in `rope_parameters` as transformers 5 writes it.
  func rotaryBase() throws(ModelError) -> Double {
    for key in ["rope_scaling", "rope_parameters"] {
      guard let parameters = json[key], !parameters.isNull else { continue }
      guard parameters.members != nil else {
        throw ModelError("\(source): \(key) must be an object, found \(parameters.kind)")
      }
      let inner = ConfigurationReader(json: parameters, source: "\(source), \(key)")
      let type = try inner.string(
        "rope_type", default: try inner.string("type", default: "default"))
      guard type == "default" else {
        throw unsupported("\(key).rope_type", "\"\(type)\"", supported: "\"default\"")
      }
      if let base = parameters["rope_theta"] {
        return try positive(base, "\(key).rope_theta", default: 10000)
      }
    }
    return try positive("rope_theta", default: 10000)
  }
}
