import Tensor
import Testing

@testable import Model

private func dpoCoefficients(_ batch: PackedBatch) -> [Float] {
  // β σ(−margin) for the chosen, its negative for the rejected, pair by pair.
  var result = [Float](repeating: 0, count: batch.targets.count)
  for (index, range) in batch.sequences.enumerated() {
    let size = 0.05 + 0.01 * Float(index / 2)
    for place in range { result[place] = index % 2 == 0 ? size : -size }
  }
  return result
}

private func pairs(below size: Int) -> [PromptFamily] {
  (0..<4).map { family in
    PromptFamily(
      prompt: randomTokens(6 + 11 * family, below: size, seed: UInt64(700 + family)),
      completions: (0..<2).map {
        randomTokens(9 + 7 * $0 + family, below: size, seed: UInt64(720 + 2 * family + $0))
      })
  }
}

@Suite struct BF16DecoderTests {
  /// The whole rounding of weights and activations moves log-probabilities by less than a hundredth.
  @Test(arguments: TinySizes.all, Setting.oneThread)
  func logProbabilitiesAreNearThoseOfF32(_ sizes: TinySizes, _ setting: Setting) throws {
    let model = try TinyModel(sizes)
    let compute = setting.compute()
    let batch = PackedBatch(pairs(below: sizes.vocabulary))
    let exact = model.decoder(compute).forward(batch, keepsActivations: false)
    let rounded = model.decoder(compute, .bf16)
    let found = rounded.forward(batch, keepsActivations: true)
    let again = rounded.forward(batch, keepsActivations: false)
    expectEqual(found.map(\.logProbability), again.map(\.logProbability))
    let differences = zip(found, exact).map { abs($0.logProbability - $1.logProbability) }
    let sum = exact.reduce(0) { $0 + abs($1.logProbability) }
    let relative = differences.reduce(0, +) / sum
    #expect(relative < 0.01 && relative > 0, "\(relative) on the whole")
    for (sequence, range) in batch.sequences.enumerated() {
      let (one, other) = (
        exact[range].reduce(0) { $0 + $1.logProbability },
        found[range].reduce(0) { $0 + $1.logProbability }
      )
      #expect(abs(one - other) < 0.01 * abs(one), "sequence \(sequence): \(one), \(other)")
    }
  }

  @Test(arguments: TinySizes.all, Setting.oneThread)
  func gradientPointsWhereThatOfF32Does(_ sizes: TinySizes, _ setting: Setting) throws {
    let model = try TinyModel(sizes)
    let compute = setting.compute()
    let batch = PackedBatch(pairs(below: sizes.vocabulary))
    let coefficients = dpoCoefficients(batch)
    let (one, other) = (model.decoder(compute), model.decoder(compute, .bf16))
    let exact = gradient(of: one, DecoderBackward(one), batch, coefficients)
    let found = gradient(of: other, DecoderBackward(other), batch, coefficients)
    #expect(cosine(exact, found) >= 0.999, "\(cosine(exact, found))")
    let (size, expected) = (length(found), length(exact))
    #expect(abs(size / expected - 1) < 0.01, "length \(size), \(expected)")
    // Gaps stay zero.
    var isUsed = [Bool](repeating: false, count: found.count)
    for parameter in model.table.parameters {
      for index in parameter.offset..<parameter.offset + parameter.count { isUsed[index] = true }
    }
    #expect(zip(isUsed, found).allSatisfy { $0 || $1 == 0 })
  }

  /// The adapter's products are in bf16 too; its gradient likewise.
  ///
  /// Its numbers are about a tenth: with larger ones these 16 channels are mostly update, and logits of
  /// that size turn the gradient by themselves.
  @Test(arguments: Setting.oneThread) func adapters(_ setting: Setting) throws {
    let model = try TinyModel(.biases)
    let adapter = try TinyAdapter(
      of: model.configuration, dropout: 0, deviation: 0.1, seed: 21)
    let compute = setting.compute()
    let batch = PackedBatch(
      pairs(below: 37), dropout: DropoutDraws(probability: 0.2, seed: 3, step: 1))
    let results = Precision.allCases.map { precision -> (logs: [Double], gradient: [Float]) in
      let weights = model.weights(
        precision,
        adapter: adapter.weights(precision))
      let decoder = Decoder(weights: weights, compute: compute)
      let logs = decoder.forward(batch, keepsActivations: false).map(\.logProbability)
      return (
        logs, gradient(of: decoder, DecoderBackward(decoder), batch, dpoCoefficients(batch))
      )
    }
    let (exact, found) = (results[0], results[1])
    let difference = zip(exact.logs, found.logs).reduce(0) { $0 + abs($1.0 - $1.1) }
    #expect(difference < 0.01 * exact.logs.reduce(0) { $0 + abs($1) })
    #expect(cosine(exact.gradient, found.gradient) >= 0.999)
    withExtendedLifetime(adapter) {}
  }

  private func length(_ values: [Float]) -> Double {
    values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
  }

  private func cosine(_ a: [Float], _ b: [Float]) -> Double {
    zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } / (length(a) * length(b))
  }
}
