import Model
import Tensor
import Testing

/// A reference of another shape than any policy here, on the same vocabulary.
private let referenceSizes = TinySizes(
  testDescription: "reference", hidden: 20, intermediate: 33, layers: 1, queryHeads: 3,
  keyValueHeads: 1, headSize: 10, vocabulary: 37)

/// κ that differ in size, some 0.
private func mixedPenalties(_ count: Int) -> [Float] {
  (0..<count).map { index in
    if index % 4 == 2 { return 0 }
    return 0.25 + Float((index * 5 + 1) % 7) / 4
  }
}

/// A policy and a frozen reference on the same families, with both decoders in Double beside them.
private struct Pair {
  let policy: TinyModel
  let reference: TinyModel
  let families: [PromptFamily]
  let batch: PackedBatch
  /// The reference's log-probabilities at each prediction.
  let referenceLogs: [[Double]]

  init(_ sizes: TinySizes, _ families: [PromptFamily]) throws {
    policy = try TinyModel(sizes)
    reference = try TinyModel(referenceSizes, seed: 8)
    self.families = families
    batch = PackedBatch(families)
    referenceLogs = ReferenceDecoder(reference).distributions(families, reference.numbers)
  }

  /// KL(π_ref ‖ π) at each prediction, for weights of the policy.
  func divergences(_ weights: [Double]) -> [Double] {
    let logs = ReferenceDecoder(policy).distributions(families, weights)
    return zip(referenceLogs, logs).map { reference, log in
      zip(reference, log).reduce(0) { $0 + Double.exponential($1.0) * ($1.0 - $1.1) }
    }
  }

  /// The gradient of Σ c log p + Σ κ KL, and the divergences that the forward gives.
  func gradient(
    _ compute: Compute, coefficients: [Float], penalties: [Float]?
  ) -> (gradient: [Float], divergences: [Double]) {
    let decoder = policy.decoder(compute)
    let penalty = penalties.map {
      DivergencePenalty(
        reference: reference.decoder(compute).referenceForward(batch).rows, coefficients: $0)
    }
    let statistics = decoder.forward(batch, keepsActivations: true, penalty: penalty)
    var result = [Float](repeating: 0, count: policy.table.floatCount)
    DecoderBackward(decoder).backward(
      batch, coefficients: coefficients, penalty: penalty, addingTo: &result)
    return (result, statistics.map(\.divergence))
  }
}

extension ReferenceDecoder {
  /// log softmax at each prediction, families and completions in order.
  fileprivate func distributions(
    _ families: [PromptFamily], _ weights: [Double]
  ) -> [[Double]] {
    families.flatMap { family in
      family.completions.flatMap { completion in
        logits(family.prompt + completion.dropLast(), weights)
          .dropFirst(family.prompt.count - 1).map { row in
            let logSum = logSumExp(row)
            return row.map { $0 - logSum }
          }
      }
    }
  }
}

@Suite struct DivergencePenaltyTests {
  /// The penalty alone, and together with coefficients of the log-probabilities.
  @Test(arguments: [TinySizes.tied, .untied], Setting.oneThread)
  func gradientIsTheSlope(_ sizes: TinySizes, _ setting: Setting) throws {
    let pair = try Pair(sizes, twoFamilies(below: 37))
    let count = pair.batch.targets.count
    for coefficients in [[Float](repeating: 0, count: count), mixedCoefficients(count)] {
      try expectSlope(pair, coefficients, mixedPenalties(count), setting.compute(), seeds: 4)
    }
  }

  /// Blocks of 256 rows of the vocabulary projection with and without a penalty.
  @Test func severalBlocks() throws {
    let families = [
      PromptFamily(
        prompt: randomTokens(6, below: 37, seed: 14),
        completions: [256 + 9, 40].map {
          randomTokens($0, below: 37, seed: UInt64($0))
        })
    ]
    let pair = try Pair(.tied, families)
    let count = pair.batch.targets.count
    for kept in [0..<20, 256 + 4..<count] {
      let penalties = (0..<count).map { kept.contains($0) ? Float(0.5) : 0 }
      try expectSlope(
        pair, mixedCoefficients(count), penalties, Compute(threadCount: 2), seeds: 1)
    }
  }

  @Test func aPenaltyOfZeroChangesNoBit() throws {
    let pair = try Pair(.tied, twoFamilies(below: 37))
    let count = pair.batch.targets.count
    let compute = Compute(threadCount: 1)
    let coefficients = mixedCoefficients(count)
    let without = pair.gradient(compute, coefficients: coefficients, penalties: nil)
    let zero = pair.gradient(
      compute, coefficients: coefficients, penalties: [Float](repeating: 0, count: count))
    expectEqual(bits(zero.gradient), bits(without.gradient))
    #expect(zero.divergences.allSatisfy { $0 == 0 })
  }

  /// Against itself a policy has no divergence, and no gradient of it.
  @Test func aPolicyIsItsOwnReference() throws {
    let model = try TinyModel(.tied)
    let compute = Compute(threadCount: 1)
    let decoder = model.decoder(compute)
    let batch = PackedBatch(twoFamilies(below: 37))
    let count = batch.targets.count
    let rows = model.decoder(compute).referenceForward(batch).rows
    let penalty = DivergencePenalty(
      reference: rows, coefficients: [Float](repeating: 1, count: count))
    let statistics = decoder.forward(batch, keepsActivations: true, penalty: penalty)
    #expect(statistics.allSatisfy { $0.divergence == 0 })
    var gradient = [Float](repeating: 0, count: model.table.floatCount)
    DecoderBackward(decoder).backward(
      batch, coefficients: [Float](repeating: 0, count: count), penalty: penalty,
      addingTo: &gradient)
    // Each share of a softmax twice, once with each sign: rounding is all that is left.
    #expect(gradient.allSatisfy { abs($0) < 1e-6 })
  }

  private func expectSlope(
    _ pair: Pair, _ coefficients: [Float], _ penalties: [Float], _ compute: Compute, seeds: Int
  ) throws {
    let (gradient, divergences) = pair.gradient(
      compute, coefficients: coefficients, penalties: penalties)
    let expected = pair.divergences(pair.policy.numbers)
    for (index, (found, expected)) in zip(divergences, expected).enumerated() {
      let wanted = penalties[index] == 0 ? 0 : expected
      #expect(abs(found - wanted) <= 1e-5 * max(1, wanted), "prediction \(index)")
    }
    let reference = ReferenceDecoder(pair.policy)
    for seed in 0..<seeds {
      var random = TestRandom(state: 600 + UInt64(seed))
      let direction = gradient.map { _ in random.normal() }
      func value(_ step: Double) -> Double {
        let weights = zip(pair.policy.numbers, direction).map { $0 + step * $1 }
        let logs = zip(reference.logProbabilities(pair.families, weights), coefficients)
        let penalty = zip(pair.divergences(weights), penalties)
        return logs.reduce(0) { $0 + $1.0 * Double($1.1) }
          + penalty.reduce(0) { $0 + $1.0 * Double($1.1) }
      }
      let step = 1e-5
      let difference = (value(step) - value(-step)) / (2 * step)
      let predicted = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
      func norm(_ values: [Double]) -> Double {
        values.reduce(0) { $0 + $1 * $1 }.squareRoot()
      }
      let error =
        abs(predicted - difference) / (norm(gradient.map { Double($0) }) * norm(direction))
      #expect(error < 1e-5, "direction \(seed): \(predicted) against \(difference)")
    }
  }
}
