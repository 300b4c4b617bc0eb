import Tensor
import Testing

@testable import Model

/// Prompts of lengths from 1 to over a tile and over a chunk, with 0 to 5 samples.
private func mixedRequests(_ count: Int, below size: Int) -> [GenerationRequest] {
  let lengths = [5, 70, 1, 33, 12, 130, 64, 2, 31, 9]
  return (0..<count).map {
    GenerationRequest(
      prompt: randomTokens(lengths[$0 % 10], below: size, seed: UInt64(900 + $0)),
      sampleCount: [2, 1, 3, 0, 5, 1][$0 % 6], row: $0)
  }
}

/// Tokens and the bits of both log-probabilities.
private func exact(_ completions: [[Completion]]) -> [[String]] {
  completions.map { row in
    row.map {
      "\($0.tokens) \($0.isEnded) \($0.logProbability.bitPattern) \($0.drawLogProbability.bitPattern)"
    }
  }
}

extension Decoder {
  fileprivate func completions(
    _ requests: [GenerationRequest], _ rule: SamplingRule = SamplingRule(), most: Int = 24
  ) -> [[Completion]] {
    generate(
      requests,
      settings: GenerationSettings(rule: rule, maxNewTokens: most, endTokens: [4, 11]),
      random: KeyedRandom(seed: 6, purpose: .sampling), step: 2)
  }

  /// Bytes of a row's cache in a call with these requests.
  fileprivate func cacheBytes(_ requests: [GenerationRequest], most: Int = 24) -> Int {
    let longest = requests.map(\.prompt.count).max() ?? 0
    return KeyValueCache.bytes(
      configuration, precision: weights.precision, positions: longest + most - 1)
  }
}

/// Continuous batching: rows that decode together, each in its own cache.
@Suite(.enabled(if: hasInvariantKernels, "only where products are invariant"))
struct DecodingTests {
  /// What is summed while decoding is what the forward over the whole sequences gives, in every bit.
  @Test(arguments: TinySizes.all, Precision.allCases)
  func logProbabilitiesAreTheForwards(_ sizes: TinySizes, _ precision: Precision) throws {
    let model = try TinyModel(sizes)
    for threadCount in [1, 2] {
      let decoder = model.decoder(Compute(threadCount: threadCount), precision)
      let requests = mixedRequests(12, below: sizes.vocabulary)
      for rule in [SamplingRule(), SamplingRule(temperature: 0.7, topK: 9, topP: 0.9)] {
        let found = decoder.completions(requests, rule)
        let batch = PackedBatch(
          zip(requests, found).map {
            PromptFamily(prompt: $0.prompt, completions: $1.map(\.tokens))
          })
        let statistics = decoder.forward(batch, keepsActivations: false)
        let sums = batch.sequences.map { statistics[$0].reduce(0) { $0 + $1.logProbability } }
        expectEqual(found.flatMap { $0 }.map(\.logProbability), sums, "\(threadCount) threads")
      }
    }
  }

  /// Of several slices of the vocabulary.
  @Test(arguments: Precision.allCases)
  func logProbabilitiesOfSlices(_ precision: Precision) throws {
    let model = try TinyModel(TinySizes(testDescription: "three slices", vocabulary: 5000))
    let decoder = model.decoder(Compute(threadCount: 2), precision)
    let requests = mixedRequests(6, below: 5000)
    for rule in [SamplingRule(), SamplingRule(temperature: 0), SamplingRule(topK: 50)] {
      let found = decoder.completions(requests, rule)
      let batch = PackedBatch(
        zip(requests, found).map {
          PromptFamily(prompt: $0.prompt, completions: $1.map(\.tokens))
        })
      let statistics = decoder.forward(batch, keepsActivations: false)
      let sums = batch.sequences.map { statistics[$0].reduce(0) { $0 + $1.logProbability } }
      expectEqual(found.flatMap { $0 }.map(\.logProbability), sums)
    }
  }

  /// Fewer caches than rows: a row's text depends on nothing but its request.
  @Test(arguments: TinySizes.all, Precision.allCases)
  func cachesChangeNoBit(_ sizes: TinySizes, _ precision: Precision) throws {
    let model = try TinyModel(sizes)
    let requests = mixedRequests(16, below: sizes.vocabulary)
    let decoder = model.decoder(Compute(threadCount: 1), precision)
    let together = exact(decoder.completions(requests))
    let rows = together.reduce(0) { $0 + $1.count }
    #expect(decoder.caches.count == rows && rows > 20)
    let lengths = Set(together.flatMap { $0 }.map(\.count))
    #expect(lengths.count > 3, "rows end at different times")
    for (limit, expectedCount) in [(0, 1), (1, 1), (2, 2), (5, 5), (rows - 1, rows - 1)] {
      let few = model.decoder(Compute(threadCount: 2), precision)
      few.cacheLimit = limit * few.cacheBytes(requests)
      expectEqual(exact(few.completions(requests)), together, "\(limit) caches")
      #expect(few.caches.count == expectedCount)
      #expect(few.generationTimes.newTokens == decoder.generationTimes.newTokens)
      #expect(few.generationTimes.promptTokens == decoder.generationTimes.promptTokens)
    }
    // Alone, on a decoder whose caches held others before.
    for index in [0, 4, 5, 13] {
      expectEqual(exact(decoder.completions([requests[index]])), [together[index]])
    }
    expectEqual(exact(decoder.completions(requests.reversed())), together.reversed())
  }

  /// Caches are used again by longer and shorter calls; what they held is not seen.
  @Test(arguments: Precision.allCases) func cachesAreUsedAgain(_ precision: Precision) throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1), precision)
    let all = mixedRequests(16, below: 37)
    for part in [0..<1, 4..<8, 2..<3, 0..<16, 6..<9] {
      for most in [3, 24, 90] {
        let fresh = model.decoder(Compute(threadCount: 1), precision)
        let requests = Array(all[part])
        expectEqual(
          exact(decoder.completions(requests, most: most)),
          exact(fresh.completions(requests, most: most)), "\(part), \(most) tokens")
      }
    }
  }

  /// More prompt tokens than a chunk, a prompt longer than a chunk, and what is counted.
  @Test(arguments: Precision.allCases) func promptsGoInChunks(_ precision: Precision) throws {
    let model = try TinyModel(.tied)
    let decoder = model.decoder(Compute(threadCount: 2), precision)
    let lengths = [200, 300, 40, Decoder.defaultPromptChunk + 90, 1, 500, 12]
    let requests = lengths.enumerated().map {
      GenerationRequest(
        prompt: randomTokens($0.element, below: 37, seed: UInt64(950 + $0.offset)),
        sampleCount: 1 + $0.offset % 2, row: $0.offset)
    }
    let together = exact(decoder.completions(requests, most: 8))
    #expect(decoder.generationTimes.promptTokens == lengths.reduce(0, +))
    #expect(
      decoder.generationTimes.newTokens
        == decoder.completions(requests, most: 8).flatMap { $0 }.reduce(0) { $0 + $1.tokens.count })
    for (index, request) in requests.enumerated() {
      expectEqual(exact(decoder.completions([request], most: 8)), [together[index]])
    }
  }
}
