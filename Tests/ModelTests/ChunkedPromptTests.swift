import Tensor
import Testing

@testable import Model

/// Prompts below and above a chunk of 64 or 128 tokens, at and beside the ends of pieces.
private let lengths = [150, 40, 333, 64, 129, 1, 128, 1200, 20]

private func requests(below size: Int) -> [GenerationRequest] {
  lengths.enumerated().map {
    GenerationRequest(
      prompt: randomTokens($0.element, below: size, seed: UInt64(700 + $0.offset)),
      sampleCount: [2, 1, 3, 1, 0, 1][$0.offset % 6], row: $0.offset)
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

extension TinySizes {
  /// A window longer than a small chunk and shorter than most prompts, in one of two layers.
  fileprivate static let wideWindow = TinySizes(
    testDescription: "qwen2, window of 100", family: "qwen2",
    options: """
      , "use_sliding_window": true, "sliding_window": 100, "max_window_layers": 1
      """)
  fileprivate static let inChunks = all + [wideWindow]
}

extension Decoder {
  fileprivate func completions(
    _ requests: [GenerationRequest], ends: [Int32] = [4, 11], most: Int = 12,
    onProgress: (Int) -> Void = { _ in }
  ) -> [[Completion]] {
    generate(
      requests,
      settings: GenerationSettings(rule: SamplingRule(), maxNewTokens: most, endTokens: ends),
      random: KeyedRandom(seed: 6, purpose: .sampling), step: 2, onProgress: onProgress)
  }
}

extension KeyValueCache {
  /// The bytes of the first `count` positions of every layer and head, keys and values.
  fileprivate func content(_ c: DecoderConfiguration, _ precision: Precision, count: Int) -> [UInt8]
  {
    let position = c.heads.size * precision.byteCount
    var bytes: [UInt8] = []
    for index in 0..<c.layerCount {
      let layer = layer(index, count: count)
      for base in [layer.keys, layer.values] {
        for head in 0..<c.heads.keyValueCount {
          let start = base + head * capacity * position
          bytes += UnsafeRawBufferPointer(start: start, count: count * position)
        }
      }
    }
    return bytes
  }
}

@Suite struct ChunkedPromptTests {
  private static let needsInvariance: Comment = "only where products are invariant"

  /// Every token's residual stream, and all keys and values, are those of the whole prompt.
  ///
  /// Beyond 1024 keys oneDNN cuts an f32 product's sum: there the bits show whether tiles are the same.
  @Test(
    .enabled(if: hasInvariantKernels, needsInvariance), arguments: TinySizes.inChunks,
    Precision.allCases)
  func streamAndCacheAreTheWholePrompts(_ sizes: TinySizes, _ precision: Precision) throws {
    let model = try TinyModel(sizes)
    let decoder = model.decoder(Compute(threadCount: 2), precision)
    let c = model.configuration
    for length in [64, 65, 150, 333, 1200] {
      let prompt = randomTokens(length, below: sizes.vocabulary, seed: UInt64(length))
      func cache() -> KeyValueCache { KeyValueCache(c, precision: precision, positions: length) }
      func floats(_ stream: Matrix, rows: Range<Int>) -> [UInt32] {
        let part = stream.rows(rows)
        return (0..<part.count).map { part.base[$0].bitPattern }
      }
      let whole = decoder.runLayers(
        PackedBatch([PromptFamily(prompt: prompt, completions: [])]), keepsActivations: false)
      let expected = floats(whole, rows: 0..<length)
      let full = cache()
      _ = decoder.runLayers(
        PackedBatch(pieces: [prompt[...]]), keepsActivations: false, caches: [full])
      for chunk in [64, 128] {
        let parts = cache()
        var found: [UInt32] = []
        for start in stride(from: 0, to: length, by: chunk) {
          // Beside another prompt, whose rows come first.
          let piece = prompt[start..<min(length, start + chunk)]
          let stream = decoder.runLayers(
            PackedBatch(pieces: [prompt[..<7], piece]), keepsActivations: false,
            caches: [cache(), parts])
          found += floats(stream, rows: 7..<7 + piece.count)
        }
        expectEqual(found, expected, "\(length) tokens, chunks of \(chunk)")
        expectEqual(
          parts.content(c, precision, count: length), full.content(c, precision, count: length))
      }
    }
  }

  /// Completions are those of prompts that go through the layers whole, with few caches too, and their
  /// log-probabilities the training forward's.
  @Test(
    .enabled(if: hasInvariantKernels, needsInvariance), arguments: TinySizes.inChunks,
    Precision.allCases)
  func chunksChangeNoBit(_ sizes: TinySizes, _ precision: Precision) throws {
    let model = try TinyModel(sizes)
    let requests = requests(below: sizes.vocabulary)
    let whole = model.decoder(Compute(threadCount: 1), precision)
    whole.promptChunk = 4096
    let expected = whole.completions(requests)
    let batch = PackedBatch(
      zip(requests, expected).map {
        PromptFamily(prompt: $0.prompt, completions: $1.map(\.tokens))
      })
    let statistics = whole.forward(batch, keepsActivations: false)
    let sums = batch.sequences.map { statistics[$0].reduce(0) { $0 + $1.logProbability } }
    expectEqual(expected.flatMap { $0 }.map(\.logProbability), sums)
    let row = KeyValueCache.bytes(
      model.configuration, precision: precision, positions: 1200 + 12 - 1)
    for (chunk, cacheCount) in [(64, 100), (64, 1), (64, 3), (128, 2), (128, 100), (512, 2)] {
      let decoder = model.decoder(Compute(threadCount: 2), precision)
      decoder.promptChunk = chunk
      decoder.cacheLimit = cacheCount * row
      let found = decoder.completions(requests)
      expectEqual(exact(found), exact(expected), "chunks of \(chunk), \(cacheCount) caches")
      #expect(
        decoder.generationTimes.promptTokens == whole.generationTimes.promptTokens)
      #expect(
        decoder.inputs.map(\.count) == [Int](repeating: chunk * sizes.hidden, count: 2),
        "the workspace has the rows of a chunk")
    }
  }

  /// Where a row depends on its neighbours, the requests of a call still decide every bit.
  @Test(arguments: Precision.allCases) func requestsDecideAllBits(_ precision: Precision) throws {
    let model = try TinyModel(.untied)
    let requests = requests(below: 37)
    let found = [1, 2].flatMap { threadCount in
      let decoder = model.decoder(
        Compute(threadCount: threadCount, usesOneDNN: false), precision)
      decoder.promptChunk = 64
      return [decoder.completions(requests), decoder.completions(requests)].map(exact)
    }
    for other in found { expectEqual(other, found[0]) }
  }

  /// A row that is being decoded gets a token after every chunk of a long prompt; before any is, all
  /// prompts that can start are read.
  @Test func decodingGoesOnBetweenChunks() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let prompts = [10, 20, 300].map { randomTokens($0, below: 37, seed: UInt64($0)) }
    let requests = prompts.enumerated().map {
      GenerationRequest(prompt: $0.element, sampleCount: 1, row: $0.offset)
    }
    func progress() -> [Int] {
      var counts: [Int] = []
      _ = decoder.completions(requests, ends: [], most: 12) { counts.append($0) }
      return counts
    }
    decoder.promptChunk = 64
    #expect(progress() == [Int](repeating: 3, count: 12))
    // The second row ends first.
    let free = decoder.completions(requests, ends: [], most: 12).map { $0[0].tokens }
    guard
      let (end, count) = (1..<8).lazy.compactMap({ index -> (Int32, Int)? in
        let token = free[1][index]
        let isFirst = free[1].firstIndex(of: token) == index
        return isFirst && !free[0].contains(token) && !free[2].contains(token)
          ? (token, index + 1) : nil
      }).first
    else {
      Issue.record("no token ends the second row alone")
      return
    }
    decoder.cacheLimit =
      2 * KeyValueCache.bytes(model.configuration, precision: .f32, positions: 311)
    var counts: [Int] = []
    _ = decoder.completions(requests, ends: [end], most: 12) { counts.append($0) }
    // Two rows; then one beside the first four of five chunks; then it and the third prompt's.
    let alone = min(4, 12 - count)
    let together = 12 - count - alone
    #expect(
      counts
        == [Int](repeating: 2, count: count) + [Int](repeating: 1, count: alone)
        + [Int](repeating: 2, count: together) + [Int](repeating: 1, count: 12 - together))
  }
}
