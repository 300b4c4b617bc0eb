import Model
import Tensor
import Testing

@Suite struct DecoderForwardTests {
  @Test(arguments: TinySizes.all, Setting.all)
  func logProbabilitiesAreTheDefinitions(_ sizes: TinySizes, _ setting: Setting) throws {
    let model = try TinyModel(sizes)
    let families = twoFamilies(below: sizes.vocabulary)
    let expected = ReferenceDecoder(model).logProbabilities(families, model.numbers)
    let decoder = model.decoder(setting.compute())
    for keepsActivations in [false, true] {
      let found = decoder.forward(PackedBatch(families), keepsActivations: keepsActivations)
      #expect(found.count == expected.count)
      for (index, (found, expected)) in zip(found, expected).enumerated() {
        #expect(abs(found.logProbability - expected) < 1e-5, "token \(index)")
      }
    }
  }

  /// Entropy, mean logit and whether the target was the most likely token.
  @Test func statisticsAreTheDefinitions() throws {
    let model = try TinyModel(.tied)
    let prompt = randomTokens(6, below: 37, seed: 8)
    let row = ReferenceDecoder(model).logits(prompt, model.numbers)[5]
    let logs = row.map { $0 - logSumExp(row) }
    let decoder = model.decoder(Compute(threadCount: 1))
    let best = row.indices.max { row[$0] < row[$1] } ?? 0
    for target in [best, (best + 1) % 37] {
      let found = decoder.forward(
        PackedBatch([PromptFamily(prompt: prompt, completions: [[Int32(target)]])]),
        keepsActivations: false)[0]
      #expect(abs(found.logProbability - logs[target]) < 1e-5)
      let entropy = -logs.reduce(0) { $0 + $1 * Double.exponential($1) }
      #expect(abs(found.entropy - entropy) < 1e-5)
      #expect(abs(found.meanLogit - row.reduce(0, +) / 37) < 1e-5)
      #expect(found.isMostLikely == (target == best))
    }
  }

  /// A prompt computed once for its completions gives what each sequence gives alone.
  @Test(arguments: Setting.all, Precision.allCases)
  func packedEqualsAlone(_ setting: Setting, _ precision: Precision) throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(setting.compute(), precision)
    let families = [
      PromptFamily(
        prompt: randomTokens(70, below: 37, seed: 10),
        completions: [3, 1, 65, 20].map { randomTokens($0, below: 37, seed: UInt64(20 + $0)) }),
      PromptFamily(
        prompt: randomTokens(1, below: 37, seed: 11),
        completions: [2, 40].map { randomTokens($0, below: 37, seed: UInt64(20 + $0)) }),
    ]
    let packed = decoder.forward(PackedBatch(families), keepsActivations: true)
      .map(\.logProbability)
    var alone: [Double] = []
    for family in families {
      for completion in family.completions {
        let single = PromptFamily(prompt: family.prompt, completions: [completion])
        alone += decoder.forward(PackedBatch([single]), keepsActivations: false)
          .map(\.logProbability)
      }
    }
    #expect(packed.count == 131 && alone.count == 131)
    if setting.usesOneDNN && hasInvariantKernels {
      expectEqual(packed, alone, "where products are invariant, in every bit")
    } else {
      // A last bit of f32 may be one of bf16.
      let tolerance = precision == .f32 ? 1e-5 : 0.05
      #expect(zip(packed, alone).allSatisfy { abs($0.0 - $0.1) < tolerance })
    }
  }

  /// Earlier, larger batches leave nothing behind.
  @Test func nothingIsLeftBehind() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let small = PackedBatch(twoFamilies(below: 37))
    let large = PackedBatch([
      PromptFamily(
        prompt: randomTokens(100, below: 37, seed: 12),
        completions: [randomTokens(300, below: 37, seed: 13)])
    ])
    let first = decoder.forward(small, keepsActivations: true).map(\.logProbability)
    let second = decoder.forward(large, keepsActivations: true).map(\.logProbability)
    expectEqual(decoder.forward(small, keepsActivations: false).map(\.logProbability), first)
    expectEqual(decoder.forward(large, keepsActivations: false).map(\.logProbability), second)
    expectEqual(decoder.forward(small, keepsActivations: true).map(\.logProbability), first)
    let fresh = model.decoder(Compute(threadCount: 1))
    expectEqual(fresh.forward(large, keepsActivations: true).map(\.logProbability), second)
    #expect(second.count == 300, "more than one block of the vocabulary projection")
  }

  @Test func nothingToPredict() throws {
    let model = try TinyModel(.untied)
    let compute = Compute(threadCount: 2)
    let decoder = model.decoder(compute)
    for families in [
      [PromptFamily(prompt: [3, 4], completions: [])],
      [PromptFamily(prompt: [3, 4], completions: [[], []])],
    ] {
      let batch = PackedBatch(families)
      #expect(decoder.forward(batch, keepsActivations: true).isEmpty)
      let found = gradient(of: decoder, DecoderBackward(decoder), batch, [])
      #expect(found.allSatisfy { $0 == 0 })
    }
  }
}
