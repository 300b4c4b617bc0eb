import Tensor
import Testing

@testable import Model

/// What is not kept is computed again with the same bits.
@Suite struct RecomputationTests {
  private func families(below size: Int) -> [PromptFamily] {
    twoFamilies(below: size) + [
      PromptFamily(
        prompt: randomTokens(40, below: size, seed: 800),
        completions: [90, 33].map { randomTokens($0, below: size, seed: UInt64(800 + $0)) })
    ]
  }

  @Test(arguments: TinySizes.all, Precision.allCases)
  func layersThatAreNotKept(_ sizes: TinySizes, _ precision: Precision) throws {
    let model = try TinyModel(sizes)
    for setting in Setting.all where setting.threadCount == 2 || precision == .f32 {
      let compute = setting.compute()
      let decoder = model.decoder(compute, precision)
      let backward = DecoderBackward(decoder)
      let (batch, small) = (
        PackedBatch(families(below: sizes.vocabulary)),
        PackedBatch(twoFamilies(below: sizes.vocabulary))
      )
      let coefficients = mixedCoefficients(batch.targets.count)
      let smallCoefficients = mixedCoefficients(small.targets.count)
      let kept = gradient(of: decoder, backward, batch, coefficients)
      let smallKept = gradient(of: decoder, backward, small, smallCoefficients)
      #expect(!decoder.recomputesLayers && decoder.layers.count == sizes.layers)
      // The same decoder, a new one, and the first again.
      for again in [decoder, model.decoder(compute, precision)] {
        again.activationLimit = 0
        let backward = DecoderBackward(again)
        for _ in 0..<2 {
          let found = gradient(of: again, backward, batch, coefficients)
          #expect(again.recomputesLayers && again.layers.count == 1)
          expectEqual(bits(found), bits(kept))
          expectEqual(
            bits(gradient(of: again, backward, small, smallCoefficients)), bits(smallKept))
        }
      }
      decoder.activationLimit = .max
      expectEqual(bits(gradient(of: decoder, backward, batch, coefficients)), bits(kept))
      #expect(decoder.layers.count == sizes.layers)
    }
  }

  /// The limit counts all layers of a batch: just enough keeps them, a byte less does not.
  @Test(arguments: Precision.allCases) func theLimitIsABound(_ precision: Precision) throws {
    let model = try TinyModel(.untied)
    let batch = PackedBatch(twoFamilies(below: 37))
    for (missing, recomputes) in [(0, false), (1, true)] {
      let decoder = model.decoder(Compute(threadCount: 1), precision)
      decoder.activationLimit =
        2 * batch.rowCount * model.configuration.activationBytes(precision) - missing
      _ = decoder.forward(batch, keepsActivations: true)
      #expect(decoder.recomputesLayers == recomputes)
    }
  }

  @Test(arguments: Precision.allCases) func adaptersAndDroppedInputs(_ precision: Precision) throws
  {
    let model = try TinyModel(.tied)
    let adapter = try TinyAdapter(
      of: model.configuration, dropout: 0.2, deviation: 0.3, seed: 22)
    let weights = model.weights(
      precision,
      adapter: adapter.weights(precision))
    let batch = PackedBatch(
      families(below: 37), dropout: DropoutDraws(probability: 0.2, seed: 3, step: 1))
    let coefficients = mixedCoefficients(batch.targets.count)
    let found = [Int.max, 0].map { limit in
      let decoder = Decoder(weights: weights, compute: Compute(threadCount: 2))
      decoder.activationLimit = limit
      return gradient(of: decoder, DecoderBackward(decoder), batch, coefficients)
    }
    #expect(found[0].contains { $0 != 0 })
    expectEqual(bits(found[1]), bits(found[0]))
    // The same where the gradient counts as zero.
    let decoder = Decoder(weights: weights, compute: Compute(threadCount: 1))
    let held = [Float](repeating: .nan, count: weights.trainedFloatCount)
    expectEqual(
      gradient(
        of: decoder, DecoderBackward(decoder), batch, coefficients, from: held, startsAtZero: true),
      found[0])
    withExtendedLifetime(adapter) {}
  }

  /// Logits of one, two or all slices of the vocabulary at once, with and without a divergence.
  @Test(arguments: [false, true], Precision.allCases)
  func logitsThatAreNotKept(isTied: Bool, precision: Precision) throws {
    var sizes = TinySizes(testDescription: "three slices", vocabulary: 5000)
    sizes.isTied = isTied
    let (model, other) = (try TinyModel(sizes), try TinyModel(sizes, seed: 9))
    let batch = PackedBatch(families(below: 5000))
    let count = batch.targets.count
    let penalties = (0..<count).map { $0 % 3 == 0 ? 0 : Float($0 % 5) / 4 }
    let slice = 4 * VocabularySlices.width * ((count + 31) / 32 * 32)
    let compute = Compute(threadCount: 2)
    for hasPenalty in [true, false] {
      var expected: (gradient: [Float], numbers: [Double])?
      for limit in [Int.max, 0, slice, 2 * slice + 5] {
        let decoder = model.decoder(compute, precision)
        decoder.logitsLimit = limit
        let penalty =
          hasPenalty
          ? DivergencePenalty(
            reference: other.decoder(compute, precision).referenceForward(batch).rows,
            coefficients: penalties) : nil
        let statistics = decoder.forward(batch, keepsActivations: true, penalty: penalty)
        let head = try #require(decoder.lastHead)
        #expect(
          decoder.headLogits(head).slices.count == (limit == .max ? 3 : max(1, limit / slice)))
        var gradient = [Float](repeating: 0, count: model.table.floatCount)
        DecoderBackward(decoder).backward(
          batch, coefficients: mixedCoefficients(count), penalty: penalty, addingTo: &gradient)
        let numbers = statistics.flatMap { [$0.logProbability, $0.entropy, $0.divergence] }
        if let expected {
          expectEqual(bits(gradient), bits(expected.gradient), "limit \(limit)")
          expectEqual(numbers, expected.numbers)
        }
        expected = (gradient, numbers)
      }
    }
  }
}
