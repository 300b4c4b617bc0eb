/// What sets one decoder architecture apart from the others; forward and backward are the same.
///
/// Names, defaults and options are those of the architecture's configuration class and module in
/// transformers. A row of ``all`` is everything that Sail knows of a family.
public struct DecoderFamily: Sendable, Equatable {
  /// Which linear layers have a bias.
  public enum Biases: Sendable, Equatable {
    /// None.
    case none
    /// Queries, keys and values.
    case queryKeyValue
    /// Queries, keys, values and the attention's output if `attention_bias` is true; gate, up and down
    /// if `mlp_bias` is true, where the family has that key.
    case configured(mlp: Bool)
  }

  /// Which layers see the nearest positions only.
  public enum Windows: Sendable, Equatable {
    /// None.
    case none
    /// All, if `sliding_window` is a number; `missing` stands for a missing key.
    case everyLayer(missing: Int?)
    /// With `use_sliding_window`, those from `max_window_layers` on, or as `layer_types` says.
    case upperLayers
  }

  /// `model_type`.
  public let modelType: String
  /// What its classes' names begin with, as in `Qwen2ForCausalLM`.
  public let classPrefix: String
  /// Whether a folder holds queries, keys and values as one tensor, and gate and up as one.
  public var fusesProjections = false
  /// Which linear layers have a bias.
  public var biases = Biases.none
  /// Which layers see the nearest positions only.
  public var windows = Windows.none
  /// Whether each query and key head is normed before it is rotated.
  public var normsHeads = false
  /// Whether only the first part of a head may be rotated (`partial_rotary_factor`).
  public var allowsPartialRotary = false
  /// ε of the norms where `rms_norm_eps` is missing.
  public var defaultEpsilon = 1e-6
  /// Key and value heads where their key is missing; nil: as many as query heads.
  public var defaultKeyValueHeadCount: Int?
  /// Size of a head where `head_dim` is missing; nil: hidden size ÷ query heads.
  public var defaultHeadSize: Int?

  /// The families that Sail computes.
  public static let all = [
    DecoderFamily(modelType: "llama", classPrefix: "Llama", biases: .configured(mlp: true)),
    DecoderFamily(
      modelType: "mistral", classPrefix: "Mistral", windows: .everyLayer(missing: 4096),
      defaultKeyValueHeadCount: 8),
    DecoderFamily(
      modelType: "phi3", classPrefix: "Phi3", fusesProjections: true,
      windows: .everyLayer(missing: nil), allowsPartialRotary: true, defaultEpsilon: 1e-5),
    DecoderFamily(
      modelType: "qwen2", classPrefix: "Qwen2", biases: .queryKeyValue, windows: .upperLayers),
    DecoderFamily(
      modelType: "qwen3", classPrefix: "Qwen3", biases: .configured(mlp: false),
      windows: .upperLayers, normsHeads: true, defaultHeadSize: 128),
  ]
}
