import Tensor
import Testing

@testable import Model

/// Batches with and without the rows that fill them to a multiple of 32.
@Suite struct PaddingTests {
  private static let families = [
    PromptFamily(
      prompt: randomTokens(17, below: 37, seed: 801),
      completions: [40, 9].map { randomTokens($0, below: 37, seed: UInt64(800 + $0)) }),
    PromptFamily(
      prompt: randomTokens(5, below: 37, seed: 802),
      completions: [70, 1].map { randomTokens($0, below: 37, seed: UInt64(810 + $0)) }),
  ]

  /// Padding changes no bit of log-probabilities and gradients, added to or written.
  @Test(arguments: Precision.allCases, [1, 2])
  func paddingChangesNoBit(_ precision: Precision, threadCount: Int) throws {
    let model = try TinyModel(.wholeVectors)
    let compute = Compute(threadCount: threadCount)
    let batch = PackedBatch(Self.families)
    try #require(batch.usedRowCount < batch.rowCount)
    let coefficients = mixedCoefficients(batch.targets.count)
    let decoder = model.decoder(compute, precision)
    #expect(decoder.padsRows == !compute.sumsAnyRows(columns: 16))
    func results(padsRows: Bool) -> [[UInt64]] {
      let decoder = model.decoder(compute, precision)
      decoder.padsRows = padsRows
      #expect(decoder.rowCount(of: batch) == (padsRows ? batch.rowCount : batch.usedRowCount))
      let backward = DecoderBackward(decoder)
      return [
        gradient(of: decoder, backward, batch, coefficients),
        gradient(
          of: decoder, backward, batch, coefficients,
          from: [Float](repeating: .nan, count: model.table.floatCount), startsAtZero: true),
      ].map { $0.map { UInt64($0.bitPattern) } }
        + [
          decoder.forward(batch, keepsActivations: false).flatMap {
            [$0.logProbability.bitPattern, $0.entropy.bitPattern]
          }
        ]
    }
    for (found, expected) in zip(
      results(padsRows: decoder.padsRows), results(padsRows: true))
    {
      expectEqual(found, expected)
    }
  }

  /// A policy whose adapter wants padding, beside a reference that wants none.
  @Test(arguments: Precision.allCases)
  func aReferenceWithoutPadding(_ precision: Precision) throws {
    let model = try TinyModel(.wholeVectors)
    let adapter = try TinyAdapter(
      of: model.configuration, dropout: 0, deviation: 0.1, seed: 31)
    let compute = Compute(threadCount: 2)
    let batch = PackedBatch(Self.families)
    let count = batch.targets.count
    let coefficients = mixedCoefficients(count)
    let policy = Decoder(
      weights: model.weights(precision, adapter: adapter.weights(precision)), compute: compute)
    #expect(policy.padsRows)
    let reference = model.decoder(compute, precision)
    func result(padsReference: Bool) -> [UInt32] {
      reference.padsRows = padsReference || reference.padsRows
      let penalty = DivergencePenalty(
        reference: reference.referenceForward(batch).rows,
        coefficients: [Float](repeating: 0.5, count: count))
      let statistics = policy.forward(batch, keepsActivations: true, penalty: penalty)
      #expect(statistics.allSatisfy { $0.divergence > 0 })
      var sums = [Float](repeating: 0, count: policy.weights.trainedFloatCount)
      DecoderBackward(policy).backward(
        batch, coefficients: coefficients, penalty: penalty, addingTo: &sums)
      return sums.map(\.bitPattern)
    }
    let found = result(padsReference: false)
    expectEqual(found, result(padsReference: true))
    withExtendedLifetime(adapter) {}
  }
}
