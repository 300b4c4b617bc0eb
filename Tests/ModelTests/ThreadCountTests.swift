import Model
import Tensor
import Testing

@Suite struct ThreadCountTests {
  /// Forward, backward and generation with one and two threads: the same bits, on either
  /// library.
  @Test(arguments: TinySizes.all, [true, false])
  func threadsChangeNoBit(_ sizes: TinySizes, usesOneDNN: Bool) throws {
    for precision in Precision.allCases {
      try expectSameBits(sizes, usesOneDNN: usesOneDNN, precision)
    }
  }

  private func expectSameBits(
    _ sizes: TinySizes, usesOneDNN: Bool, _ precision: Precision
  ) throws {
    let model = try TinyModel(sizes)
    func results(_ threadCount: Int) -> [[UInt64]] {
      let decoder = model.decoder(
        Compute(threadCount: threadCount, usesOneDNN: usesOneDNN), precision)
      let backward = DecoderBackward(decoder)
      var found: [[UInt64]] = []
      for families in [
        twoFamilies(below: sizes.vocabulary),
        [
          PromptFamily(
            prompt: randomTokens(80, below: sizes.vocabulary, seed: 500),
            completions: [30, 150, 100].map {
              randomTokens($0, below: sizes.vocabulary, seed: UInt64($0))
            })
        ],
      ] {
        let batch = PackedBatch(families)
        let coefficients = mixedCoefficients(batch.targets.count)
        let sums = gradient(of: decoder, backward, batch, coefficients)
        found.append(sums.map { UInt64($0.bitPattern) })
        let statistics = decoder.forward(batch, keepsActivations: false)
        found.append(statistics.map(\.logProbability.bitPattern))
        found.append(statistics.map(\.entropy.bitPattern))
      }
      let requests = (0..<6).map {
        GenerationRequest(
          prompt: randomTokens(2 + 5 * $0, below: sizes.vocabulary, seed: UInt64($0)),
          sampleCount: 2, row: $0)
      }
      let completions = decoder.generate(
        requests,
        settings: GenerationSettings(rule: SamplingRule(), maxNewTokens: 10, endTokens: [5]),
        random: KeyedRandom(seed: 2, purpose: .sampling), step: 1
      ).flatMap { $0 }
      found.append(completions.map(\.logProbability.bitPattern))
      found += completions.map { $0.tokens.map { UInt64(UInt32(bitPattern: $0)) } }
      return found
    }
    let one = results(1)
    let two = results(2)
    #expect(one.count == two.count)
    for (index, (found, expected)) in zip(two, one).enumerated() {
      expectEqual(found, expected, "\(precision), result \(index)")
    }
  }
}
