import Foundation
import JSONText
import Model
import Tensor
import Testing

@testable import Coordinator

@Suite struct MemoryPlanTests {
  static func published(_ name: String) throws -> DecoderConfiguration {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Fixtures/published/\(name)/config.json")
    let json = try JSON(parsing: [UInt8](try Data(contentsOf: path)))
    return try DecoderConfiguration(json: json, source: name)
  }

  static func models(_ name: String) throws -> PlannedModels {
    let decoder = try published(name)
    return PlannedModels(
      policy: .init("policy", decoder), reference: .init("reference", decoder))
  }

  static let lengths = RowLengths(prompt: 100, response: 50, responsesPerRow: 2)

  static func configuration(_ overrides: String...) throws -> RunConfiguration {
    try RunConfiguration.parse(
      RunFileText.least, name: "run.yaml",
      overrides: ["batch.pairs=8", "batch.groups=4"] + overrides)
  }

  static func plan(
    _ configuration: RunConfiguration, _ models: PlannedModels, ranks: Int = 1, onNode: Int = 1,
    nodeMemory: Double = 1e12
  ) -> MemoryPlan {
    MemoryPlan(
      configuration, models: models,
      step: PlannedStep(
        configuration, lengths: lengths, rankCount: ranks, ranksOnNode: onNode),
      nodeMemory: nodeMemory)
  }

  private static func exact(_ plan: MemoryPlan) -> Double {
    plan.items.reduce(0) { $0 + ($1.isExact ? plan.bytes(of: $1) : 0) }
  }

  /// Policy 4, reference 4, gradient 4, moments 8 bytes a parameter.
  ///
  /// With bf16 the reference has 2, vectors excepted. Two ranks of a node have two gradients and half an
  /// accumulator each.
  @Test(arguments: [("f32", 1), ("bf16", 1), ("f32", 2), ("bf16", 2)])
  func bytesOfAParameter(_ precision: String, ranks: Int) throws {
    let models = try Self.models("Qwen1.5-0.5B")
    #expect(models.policy.floatCount == 463_987_712)
    // Of each layer two norms and a bias of 3072, and the last norm.
    let vectors = 24 * (2 * 1024 + 3072) + 1024
    #expect(models.policy.matrixCount == 463_987_712 - vectors)
    let plan = Self.plan(
      try Self.configuration("precision=\(precision)"), models, ranks: ranks, onNode: ranks)
    let bytes = ranks == 1 ? 20.0 : 28
    let saved = precision == "bf16" ? 2 * Double(models.policy.matrixCount) : 0
    #expect(Self.exact(plan) == bytes * 463_987_712 - saved)
    #expect(plan.sharedBytes == (ranks == 1 ? 0 : 16 * 463_987_712 - saved))
  }

  /// Four nodes of two ranks: moments and accumulator are an eighth a rank.
  @Test func slicesOfEightRanks() throws {
    let models = try Self.models("Meta-Llama-3-8B-Instruct")
    let count = 8_030_261_248.0
    #expect(models.policy.floatCount == 8_030_261_248)
    let plan = Self.plan(
      try Self.configuration("batch.groups=8"), models, ranks: 8, onNode: 2)
    #expect(Self.exact(plan) == count * (4 + 4 + 2 * 4 + 2 * 8.0 / 8 + 2 * 4.0 / 8))
  }

  /// Of an adapter only the adapter has gradient and moments, and the reference is its base.
  @Test func anAdapter() throws {
    var models = try #require(try Self.models("Phi-3-mini-4k-instruct").adapted)
    #expect(models.policy.floatCount == 3_821_079_552)
    // Rank 64 on qkv (3072 → 9216), o (3072 → 3072), gate and up (3072 → 16384), down (8192 → 3072).
    let adapter = 32 * 64 * (3072 + 9216 + 3072 + 3072 + 3072 + 16384 + 8192 + 3072)
    #expect(models.adapterFloats == adapter)
    let configuration = try Self.configuration()
    let plan = Self.plan(configuration, models)
    #expect(Self.exact(plan) == 4.0 * 3_821_079_552 + Double(adapter) * (4 + 4 + 8))
    let rounded = Self.plan(try Self.configuration("precision=bf16"), models)
    #expect(Self.exact(plan) - Self.exact(rounded) == 2 * Double(models.policy.matrixCount))
    models.referenceIsShared = false
    #expect(Self.exact(Self.plan(configuration, models)) - Self.exact(plan) == 4.0 * 3_821_079_552)
  }

  @Test func stateOfOptimizers() throws {
    let bytes = try [
      "optimizer.name=adamw", "optimizer.name=rmsprop", "optimizer.name=sgd",
    ].map { try Self.configuration($0).optimizer.stateBytes }
    #expect(bytes == [8, 4, 0])
    let momentum = try Self.configuration("optimizer.name=rmsprop", "optimizer.momentum=0.5")
    #expect(momentum.optimizer.stateBytes == 8)
  }

  /// A packed row of a pair: prompt, and all but the last token of each completion.
  @Test func rowsOfGroups() throws {
    let configuration = try Self.configuration()
    let step = PlannedStep(
      configuration, lengths: Self.lengths, rankCount: 2, ranksOnNode: 2)
    #expect(step.packed == 8 * (100 + 49 + 49))
    #expect(step.predictions == 8 * 100)
    #expect(step.waves == 2)
    // 2 · 198 = 396 and 200, up to multiples of 32.
    #expect(step.packedOfGroup == 416)
    #expect(step.predictionsOfGroup == 224)
    // The longest is 200 tokens.
    #expect(step.packedOfLargestGroup == 416)
    var long = Self.lengths
    long.longest = 1000
    let uneven = PlannedStep(configuration, lengths: long, rankCount: 2, ranksOnNode: 2)
    #expect(uneven.packedOfLargestGroup == 1216)
  }

  @Test func rowsThatAreGenerated() throws {
    var configuration = try Self.configuration("generation.max_new_tokens=64")
    configuration.method = .sail
    configuration.sail.dpr.fraction = 0.25
    let step = PlannedStep(
      configuration, lengths: Self.lengths, rankCount: 1, ranksOnNode: 1)
    #expect(step.rows.map(\.count) == [6, 2])
    #expect(step.rows[1].completions == [64, 64])
    #expect(
      step.generation == .init(prompts: 2, promptTokens: 100, sequences: 4, newTokens: 64))
    #expect(step.longest == 228)
  }

  /// Half of what is left beside the fixed parts is for activations; beyond it layers run again.
  @Test func layersRunAgainWhereMemoryIsShort() throws {
    let models = try Self.models("Qwen1.5-0.5B")
    let configuration = try Self.configuration("generation.max_new_tokens=64")
    let plenty = Self.plan(configuration, models)
    #expect(!plenty.recomputesLayers)
    let kept = try #require(plenty.items.first { $0.name.hasPrefix("activations") })
    let decoder = models.policy.configuration
    #expect(kept.bytes == 416 * 24 * Double(4 * 1024 + decoder.activationBytes(.f32)))
    let short = Self.plan(configuration, models, nodeMemory: (Self.exact(plenty) + 0.4e9) / 0.9)
    #expect(short.recomputesLayers)
    #expect(short.nodeBytes < plenty.nodeBytes - 0.8 * kept.bytes)
  }

  @Test func aRunThatFitsIsNotRefused() throws {
    let models = try Self.models("Qwen1.5-0.5B")
    let configuration = try Self.configuration()
    let plan = Self.plan(configuration, models)
    #expect(plan.leastBytes < plan.nodeBytes && plan.leastBytes > Self.exact(plan))
    func refusal(_ memory: Double) -> String? {
      do throws(ConfigurationError) {
        try refuseTooLarge(
          configuration, models: models, lengths: Self.lengths, rankCount: 1, ranksOnNode: 1,
          memoryBytes: memory)
        return nil
      } catch { return error.description }
    }
    #expect(refusal(plan.leastBytes + 1) == nil)
    let sentence = try #require(refusal(8e9))
    let short = Self.plan(configuration, models, nodeMemory: 8e9)
    for part in [
      "needs about \(gigabytes(short.nodeBytes))", "8.0 GB of memory", "optimizer, adamw, 3.7 GB",
      "change one of: adapter: {rank: 64} (", "sail plan",
    ] { #expect(sentence.contains(part), "\(sentence)") }
    #expect(refusal(1e9)?.contains("none of these alone is enough") == true)
  }

  @Test func alternativesSave() throws {
    let models = try Self.models("Qwen1.5-0.5B")
    let configuration = try Self.configuration("batch.pairs=64", "batch.groups=2")
    let found = MemoryPlan.alternatives(
      configuration, models: models, lengths: Self.lengths, rankCount: 2, ranksOnNode: 2,
      nodeMemory: 1e12)
    #expect(
      found.map(\.change) == [
        "batch.groups: 64", "one rank a node", "precision: bf16", "adapter: {rank: 64}",
        "adapter: {rank: 64} with precision: bf16",
      ])
    let now = Self.plan(configuration, models, ranks: 2, onNode: 2).nodeBytes
    for alternative in found { #expect(alternative.nodeBytes < now) }
  }
}
