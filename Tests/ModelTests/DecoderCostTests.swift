import Foundation
import JSONText
import Model
import Tensor
import Testing

@Suite struct DecoderCostTests {
  private static func decoder(_ changes: [JSON.Member] = []) throws -> DecoderConfiguration {
    let base: [JSON.Member] = [
      .init(key: "model_type", value: "mistral"), .init(key: "vocab_size", value: 100),
      .init(key: "hidden_size", value: 32), .init(key: "intermediate_size", value: 48),
      .init(key: "num_hidden_layers", value: 3), .init(key: "num_attention_heads", value: 4),
      .init(key: "num_key_value_heads", value: 2), .init(key: "sliding_window", value: .null),
    ]
    let kept = base.filter { old in !changes.contains { $0.key == old.key } }
    return try DecoderConfiguration(json: .object(kept + changes), source: "config.json")
  }

  @Test func weightsOfProducts() throws {
    let decoder = try Self.decoder()
    // Queries 32, keys and values 16 each: 64 outputs; output 32; gate and up 96; down 48 inputs.
    #expect(decoder.layerProductWeights == 32 * 64 + 32 * 32 + 32 * 96 + 48 * 32)
    #expect(decoder.bodyProductWeights == 3 * 7680)
    #expect(decoder.headProductWeights == 3200)
  }

  @Test func bytesOfRows() throws {
    let decoder = try Self.decoder()
    // A row of the stream, two 1/RMS, eight sums; 64 + 32 + 96 operands.
    #expect(decoder.activationBytes(.f32) == 4 * (32 + 2 + 8) + 4 * 192)
    #expect(decoder.activationBytes(.bf16) == 4 * (32 + 2 + 8) + 2 * 192)
    #expect(decoder.inputBytes == 4 * 3 * 32)
    // Keys and values of two heads of eight in three layers.
    #expect(decoder.cacheBytes(.bf16, positions: 64) == 64 * 2 * 3 * 2 * 2 * 8)
    // The row before and after the norm, and both gradients.
    #expect(decoder.headRowBytes(.f32) == 4 * 4 * 32)
    #expect(decoder.headRowBytes(.bf16) == 3 * 4 * 32 + 2 * 32)
    #expect(decoder.logitsBytes(predictions: 10) == 4 * 10 * 100)
    let normed = try Self.decoder([
      .init(key: "model_type", value: "qwen3"), .init(key: "head_dim", value: 8),
    ])
    #expect(normed.activationBytes(.f32) - decoder.activationBytes(.f32) == 4 * 6 * 9)
  }

  /// A prompt of three and a completion of two: 1 + 2 + 3, then 4 + 5 pairs of positions.
  @Test func operationsOfAttention() throws {
    let all = try Self.decoder().attentionOperations(prompt: 3, completions: [2])
    #expect(all == 4 * 32 * 3 * 15)
    let twice = try Self.decoder().attentionOperations(prompt: 3, completions: [2, 2])
    #expect(twice == 4 * 32 * 3 * 24)
    let windowed = try Self.decoder([.init(key: "sliding_window", value: 2)])
    #expect(windowed.attentionOperations(prompt: 3, completions: [2]) == 4 * 32 * 3 * 9)
  }
}
