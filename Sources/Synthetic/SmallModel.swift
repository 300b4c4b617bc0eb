import JSONText
import Tokenizer

/// The sizes of a small Qwen2-type model with random weights to come.
public struct SmallModel: Sendable, Equatable {
  /// Width of the residual stream.
  public var hiddenSize = 192
  /// Decoder layers.
  public var layerCount = 2
  /// Query heads.
  public var headCount = 4
  /// Key and value heads; divides `headCount`.
  public var keyValueHeadCount = 2
  /// Width of the feed-forward part.
  public var intermediateSize = 512
  /// The longest sequence in tokens.
  public var maxPositions = 512
  /// The base of the rotary frequencies.
  public var ropeTheta = 10000.0
  /// The standard deviation of random weights; a narrow model learns late from the usual 0.02.
  public var initializerRange = 0.06

  /// The default sizes.
  public init() {}

  /// The token that ends an answer.
  public static let endToken = "<|im_end|>"
  /// The token that stands for nothing.
  public static let padToken = "<|endoftext|>"

  /// Refuses sizes that make no model, by name.
  func validate() throws(SyntheticError) {
    for (name, size) in [
      ("hiddenSize", hiddenSize), ("layerCount", layerCount), ("headCount", headCount),
      ("keyValueHeadCount", keyValueHeadCount), ("intermediateSize", intermediateSize),
      ("maxPositions", maxPositions),
    ] where !(1...65536).contains(size) {
      throw SyntheticError(
        description: "model.\(name) is \(size): expected a whole number from 1 to 65536")
    }
    guard hiddenSize % headCount == 0, (hiddenSize / headCount) % 2 == 0 else {
      throw SyntheticError(
        description:
          "model.hiddenSize is \(hiddenSize) with \(headCount) heads: expected an even number of "
          + "channels a head")
    }
    guard headCount % keyValueHeadCount == 0 else {
      throw SyntheticError(
        description:
          "model.keyValueHeadCount is \(keyValueHeadCount): expected a divisor of headCount, which "
          + "is \(headCount)")
    }
    for (name, value) in [("ropeTheta", ropeTheta), ("initializerRange", initializerRange)]
    where !(value.isFinite && value > 0) {
      throw SyntheticError(description: "model.\(name) is \(value): expected a number above 0")
    }
  }

  /// The JSON files of the model folder; the tokenizer is trained on the texts.
  func files(
    texts: [String], vocabularySize: Int
  ) throws(SyntheticError) -> [(name: String, json: JSON)] {
    let tokenizer = BPETrainer.train(
      texts: texts, vocabularySize: vocabularySize,
      specialTokens: [SmallModel.padToken, SmallModel.endToken])
    let endID = try SmallModel.specialID(SmallModel.endToken, in: tokenizer)
    let padID = try SmallModel.specialID(SmallModel.padToken, in: tokenizer)
    let ids =
      (tokenizer["model"]?["vocab"]?.members ?? []).compactMap(\.value.integer)
      + (tokenizer["added_tokens"]?.elements ?? []).compactMap { $0["id"]?.integer }
    let tokenCount = (ids.max() ?? 0) + 1
    return [
      ("config.json", configuration(tokenCount: tokenCount, endID: endID, padID: padID)),
      ("tokenizer.json", tokenizer),
      (
        "tokenizer_config.json",
        [
          "tokenizer_class": "PreTrainedTokenizerFast",
          "eos_token": .string(SmallModel.endToken),
          "pad_token": .string(SmallModel.padToken),
          "model_max_length": .integer(Int64(maxPositions)),
          "clean_up_tokenization_spaces": false,
        ]
      ),
      (
        "generation_config.json",
        [
          "do_sample": true, "temperature": 1.0, "eos_token_id": endID, "pad_token_id": padID,
        ]
      ),
    ]
  }

  private func configuration(tokenCount: Int, endID: JSON, padID: JSON) -> JSON {
    [
      "architectures": ["Qwen2ForCausalLM"],
      "model_type": "qwen2",
      "vocab_size": .integer(Int64(tokenCount)),
      "hidden_size": .integer(Int64(hiddenSize)),
      "intermediate_size": .integer(Int64(intermediateSize)),
      "num_hidden_layers": .integer(Int64(layerCount)),
      "num_attention_heads": .integer(Int64(headCount)),
      "num_key_value_heads": .integer(Int64(keyValueHeadCount)),
      "hidden_act": "silu",
      "max_position_embeddings": .integer(Int64(maxPositions)),
      "rope_theta": .number(ropeTheta),
      "rms_norm_eps": 1e-6,
      "initializer_range": .number(initializerRange),
      "attention_dropout": 0.0,
      "tie_word_embeddings": true,
      "use_sliding_window": false,
      "eos_token_id": endID,
      "pad_token_id": padID,
      "torch_dtype": "float32",
    ]
  }

  private static func specialID(
    _ token: String, in tokenizer: JSON
  ) throws(SyntheticError) -> JSON {
    let added = tokenizer["added_tokens"]?.elements ?? []
    guard let id = added.first(where: { $0["content"]?.string == token })?["id"]?.integer else {
      throw SyntheticError(
        description: "the trained tokenizer has no id for \(token): expected one in added_tokens")
    }
    return .integer(Int64(id))
  }
}
