import Testing

@testable import Model
@testable import Tensor

/// A tiny decoder with an adapter of random weights on it.
private final class AdaptedModel {
  let model: TinyModel
  let table: AdapterTable
  let configuration: AdapterConfiguration
  let memory: FloatBuffer

  init(_ sizes: TinySizes, targets: [String]? = nil, isRankStabilized: Bool = false) throws {
    model = try TinyModel(sizes)
    configuration = AdapterConfiguration(
      rank: 3, alpha: 4, isRankStabilized: isRankStabilized, dropout: 0,
      targets: targets ?? AdapterTable.targets(of: model.configuration))
    table = try AdapterTable(configuration, of: model.configuration, source: "adapter")
    memory = FloatBuffer(count: table.floatCount)
    var random = TestRandom(state: 21)
    for parameter in table.parameters {
      for index in 0..<parameter.count {
        memory.base[parameter.offset + index] = Float(random.normal() * 0.3)
      }
    }
  }

  var weights: DecoderWeights {
    model.weights(
      adapter: AdapterWeights(configuration: configuration, table: table, base: memory.base))
  }

  var numbers: [Double] { (0..<table.floatCount).map { Double(memory.base[$0]) } }

  /// The base's weights in Double with the update W + scale · B A of every target, by names alone.
  func merged(_ adapter: [Double]) -> [Double] {
    var result = model.numbers
    let places = Dictionary(
      uniqueKeysWithValues: model.table.parameters.map { ($0.name, $0.offset) })
    let factor =
      configuration.isRankStabilized ? 4 / 3.0.squareRoot() : 4.0 / 3.0
    for pair in stride(from: 0, to: table.parameters.count, by: 2) {
      let (first, second) = (table.parameters[pair], table.parameters[pair + 1])
      let name = first.name.replacing("base_model.model.", with: "").replacing(".lora_A", with: "")
      #expect(second.name == first.name.replacing("lora_A", with: "lora_B"))
      guard let offset = places[name] else {
        Issue.record("\(name) is no weight")
        continue
      }
      let inputs = first.shape[1]
      for row in 0..<second.shape[0] {
        for column in 0..<inputs {
          for index in 0..<3 {
            result[offset + row * inputs + column] +=
              factor * adapter[second.offset + row * 3 + index]
              * adapter[first.offset + index * inputs + column]
          }
        }
      }
    }
    return result
  }
}

private let cases: [(TinySizes, [String]?)] = [
  (.tied, nil), (.biases, ["q_proj", "v_proj"]), (.fused, nil),
  (.headNorms, ["down_proj", "k_proj"]),
]

@Suite struct AdapterTests {
  @Test(arguments: cases.indices, Setting.oneThread)
  func logProbabilitiesAreTheMergedModels(_ index: Int, _ setting: Setting) throws {
    let (sizes, targets) = cases[index]
    let adapted = try AdaptedModel(sizes, targets: targets, isRankStabilized: index == 2)
    let families = twoFamilies(below: sizes.vocabulary)
    let compute = setting.compute()
    let decoder = Decoder(weights: adapted.weights, compute: compute)
    let found = decoder.forward(PackedBatch(families), keepsActivations: false)
    let expected = ReferenceDecoder(adapted.model).logProbabilities(
      families, adapted.merged(adapted.numbers))
    for (found, expected) in zip(found, expected) {
      #expect(abs(found.logProbability - expected) < 2e-5 * max(1, abs(expected)))
    }
    // Merging writes the same sum.
    let merged = adapted.merged(adapted.numbers)
    adapted.weights.mergeAdapter(compute: compute)
    for (found, expected) in zip(adapted.model.numbers, merged) {
      #expect(abs(found - expected) < 1e-6 * max(1, abs(expected)))
    }
  }

  /// Central differences of the merged model in Double along random directions of the adapter.
  @Test(arguments: cases.indices, Setting.oneThread)
  func gradientAgreesWithFiniteDifferences(_ index: Int, _ setting: Setting) throws {
    let (sizes, targets) = cases[index]
    let adapted = try AdaptedModel(sizes, targets: targets)
    let families = twoFamilies(below: sizes.vocabulary)
    let batch = PackedBatch(families)
    let coefficients = mixedCoefficients(batch.targets.count)
    let decoder = Decoder(weights: adapted.weights, compute: setting.compute())
    let found = gradient(of: decoder, DecoderBackward(decoder), batch, coefficients)
    let reference = ReferenceDecoder(adapted.model)
    for parameter in adapted.table.parameters {
      let range = parameter.offset..<parameter.offset + parameter.count
      var random = TestRandom(state: UInt64(parameter.offset + 5))
      let direction = range.map { _ in random.normal() }
      func value(_ step: Double) -> Double {
        var numbers = adapted.numbers
        for (index, part) in zip(range, direction) { numbers[index] += step * part }
        return zip(reference.logProbabilities(families, adapted.merged(numbers)), coefficients)
          .reduce(0) { $0 + $1.0 * Double($1.1) }
      }
      let difference = (value(1e-5) - value(-1e-5)) / 2e-5
      let part = found[range].map { Double($0) }
      let predicted = zip(part, direction).reduce(0) { $0 + $1.0 * $1.1 }
      func norm(_ values: [Double]) -> Double {
        values.reduce(0) { $0 + $1 * $1 }.squareRoot()
      }
      let error = abs(predicted - difference) / max(1e-30, norm(part) * norm(direction))
      #expect(error < 2e-5, "\(parameter.name)")
    }
  }

  /// A new adapter changes nothing in any bit, its B has a gradient, its A none.
  @Test func aNewAdapterIsNoChange() throws {
    let adapted = try AdaptedModel(.tied)
    initializeAdapter(adapted.table, seed: 3, into: adapted.memory.base)
    let compute = Compute(threadCount: 1)
    let batch = PackedBatch(twoFamilies(below: 37))
    let plain = adapted.model.decoder(compute).forward(batch, keepsActivations: false)
    let decoder = Decoder(weights: adapted.weights, compute: compute)
    let found = decoder.forward(batch, keepsActivations: false)
    #expect(found.map(\.logProbability) == plain.map(\.logProbability))
    let gradient = gradient(
      of: decoder, DecoderBackward(decoder), batch, mixedCoefficients(batch.targets.count))
    for parameter in adapted.table.parameters {
      let range = parameter.offset..<parameter.offset + parameter.count
      let isFirst = parameter.name.contains("lora_A")
      #expect(gradient[range].contains { $0 != 0 } != isFirst, "\(parameter.name)")
      let values = range.map { adapted.memory.base[$0] }
      let bound = 1 / Float(parameter.shape[1]).squareRoot()
      #expect(values.allSatisfy { abs($0) <= (isFirst ? bound : 0) })
      #expect(!isFirst || values.contains { abs($0) > bound / 2 })
    }
  }

  /// Dropped inputs: forward and backward drop the same, whatever the threads and the grouping.
  @Test func droppedInputsAreKeyed() throws {
    let adapted = try AdaptedModel(.tied)
    var families = twoFamilies(below: 37)
    families[0].row = 4
    families[1].row = 9
    let draws = DropoutDraws(probability: 0.3, seed: 5, step: 2)
    let batch = PackedBatch(families, dropout: draws)
    let coefficients = mixedCoefficients(batch.targets.count)
    let decoder = Decoder(weights: adapted.weights, compute: Compute(threadCount: 1))
    let backward = DecoderBackward(decoder)
    let found = gradient(of: decoder, backward, batch, coefficients)
    let two = Decoder(weights: adapted.weights, compute: Compute(threadCount: 2))
    expectEqual(
      bits(gradient(of: two, DecoderBackward(two), batch, coefficients)), bits(found))

    // The same rows in other company.
    let logs = decoder.forward(batch, keepsActivations: false).map(\.logProbability)
    let alone = decoder.forward(
      PackedBatch([families[1]], dropout: draws), keepsActivations: false)
    #expect(alone.map(\.logProbability) == Array(logs.suffix(alone.count)))
    let plain = decoder.forward(PackedBatch(families), keepsActivations: false)
    #expect(plain.map(\.logProbability) != logs)
    let next = PackedBatch(families, dropout: DropoutDraws(probability: 0.3, seed: 5, step: 3))
    #expect(decoder.forward(next, keepsActivations: false).map(\.logProbability) != logs)

    // The forward in floats is smooth for fixed draws: differences to about 1e-3.
    var random = TestRandom(state: 77)
    let direction = (0..<adapted.table.floatCount).map { _ in Float(random.normal()) }
    func value(_ step: Float) -> Double {
      let old = Array(UnsafeBufferPointer(start: adapted.memory.base, count: direction.count))
      for (index, part) in direction.enumerated() {
        adapted.memory.base[index] += step * part
      }
      let value = zip(decoder.forward(batch, keepsActivations: false), coefficients)
        .reduce(0) { $0 + $1.0.logProbability * Double($1.1) }
      adapted.memory.base.update(from: old, count: old.count)
      return value
    }
    let difference = (value(1e-3) - value(-1e-3)) / 2e-3
    let predicted = zip(found, direction).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    #expect(abs(difference - predicted) < 5e-3 * abs(predicted), "\(difference), \(predicted)")
  }

  @Test func addingEqualsAddingAfterwards() throws {
    let adapted = try AdaptedModel(.tied)
    for setting in Setting.all {
      let decoder = Decoder(weights: adapted.weights, compute: setting.compute())
      let backward = DecoderBackward(decoder)
      let batch = PackedBatch(twoFamilies(below: 37))
      let coefficients = mixedCoefficients(batch.targets.count)
      let one = gradient(of: decoder, backward, batch, coefficients.reversed())
      let other = gradient(of: decoder, backward, batch, coefficients)
      let both = gradient(of: decoder, backward, batch, coefficients, from: one)
      expectEqual(bits(both), bits(zip(one, other).map { $0 + $1 }))
    }
  }

  @Test func targetsAreLinearLayers() throws {
    let decoder = try TinySizes.tied.configuration()
    func table(_ targets: [String]) throws(ModelError) -> AdapterTable {
      try AdapterTable(
        AdapterConfiguration(
          rank: 2, alpha: 2, isRankStabilized: false, dropout: 0, targets: targets),
        of: decoder, source: "run.yaml")
    }
    for wrong in ["lm_head", "embed_tokens", "proj", "model.layers.7.self_attn.q_proj"] {
      #expect { try table(["q_proj", wrong]) } throws: { error in
        "\(error)".contains("run.yaml") && "\(error)".contains("\"\(wrong)\"")
          && "\(error)".contains("q_proj, k_proj, v_proj, o_proj, gate_proj")
      }
    }
    let one = try table(["model.layers.1.self_attn.q_proj"])
    #expect(
      one.parameters.map(\.name)
        == ["lora_A", "lora_B"].map {
          "base_model.model.model.layers.1.self_attn.q_proj.\($0).weight"
        })
  }
}
