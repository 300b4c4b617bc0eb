import Foundation
import JSONText
import Model
import Tensor
import Testing

/// The `config.json` of published models, as people have them; the sizes are their model cards'.
@Suite struct PublishedConfigurationTests {
  struct Expectation: Sendable {
    let parameterCount: Int
    let heads: AttentionHeads
    let layerCount: Int
    let window: Int?
    let rotaryBase: Double
    let hasQueryKeyValueBias: Bool
    let tiesEmbeddings: Bool
  }

  static let published = [
    "Qwen1.5-0.5B": Expectation(
      parameterCount: 463_987_712,
      heads: AttentionHeads(queryCount: 16, keyValueCount: 16, size: 64), layerCount: 24,
      window: nil, rotaryBase: 1e6, hasQueryKeyValueBias: true, tiesEmbeddings: true),
    "Phi-3-mini-4k-instruct": Expectation(
      parameterCount: 3_821_079_552,
      heads: AttentionHeads(queryCount: 32, keyValueCount: 32, size: 96), layerCount: 32,
      window: 2047, rotaryBase: 1e4, hasQueryKeyValueBias: false, tiesEmbeddings: false),
    "Meta-Llama-3-8B-Instruct": Expectation(
      parameterCount: 8_030_261_248,
      heads: AttentionHeads(queryCount: 32, keyValueCount: 8, size: 128), layerCount: 32,
      window: nil, rotaryBase: 5e5, hasQueryKeyValueBias: false, tiesEmbeddings: false),
  ]

  @Test(arguments: published.keys.sorted())
  func sizesAreThoseOfTheModelCard(_ name: String) throws {
    let expected = try #require(Self.published[name])
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Fixtures/published/\(name)/config.json")
    let json = try JSON(parsing: [UInt8](try Data(contentsOf: path)))
    let configuration = try DecoderConfiguration(json: json, source: name)
    #expect(ParameterTable(configuration).parameterCount == expected.parameterCount)
    #expect(configuration.heads == expected.heads)
    #expect(
      configuration.windows == Array(repeating: expected.window, count: expected.layerCount))
    #expect(
      configuration.rotary
        == RotaryEmbedding(base: expected.rotaryBase, headSize: expected.heads.size))
    #expect(configuration.hasQueryKeyValueBias == expected.hasQueryKeyValueBias)
    #expect(configuration.tiesEmbeddings == expected.tiesEmbeddings)
  }
}
