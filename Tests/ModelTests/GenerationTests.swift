import Model
import Tensor
import Testing

private let prompts = [5, 1, 70, 12].map { randomTokens($0, below: 37, seed: UInt64(400 + $0)) }

private func requests(samples: Int = 1) -> [GenerationRequest] {
  prompts.enumerated().map {
    GenerationRequest(prompt: $0.element, sampleCount: samples, row: 10 + $0.offset)
  }
}

private let greedy = SamplingRule(temperature: 0)

extension Decoder {
  fileprivate func completions(
    _ requests: [GenerationRequest], _ rule: SamplingRule = SamplingRule(), most: Int = 20,
    endTokens: [Int32] = [], seed: UInt64 = 1, step: Int = 3
  ) -> [[Completion]] {
    generate(
      requests,
      settings: GenerationSettings(rule: rule, maxNewTokens: most, endTokens: endTokens),
      random: KeyedRandom(seed: seed, purpose: .sampling), step: step)
  }
}

/// Tokens, whether ended, and the bits of the log-probability.
private func exact(_ completion: Completion) -> String {
  "\(completion.tokens) \(completion.isEnded) \(completion.logProbability.bitPattern)"
}

@Suite struct GenerationTests {
  /// Greedy tokens are the most likely ones of the whole-sequence forward, by the reference too.
  @Test(arguments: TinySizes.all, Setting.oneThread)
  func greedyIsTheArgmaxOfTheForward(_ sizes: TinySizes, _ setting: Setting) throws {
    let model = try TinyModel(sizes)
    let decoder = model.decoder(setting.compute())
    let prompts = [4, 9].map { randomTokens($0, below: sizes.vocabulary, seed: UInt64($0)) }
    let found = decoder.completions(
      prompts.map { GenerationRequest(prompt: $0, sampleCount: 1, row: 0) }, greedy)
    for (prompt, completions) in zip(prompts, found) {
      let tokens = completions[0].tokens
      #expect(tokens.count == 20 && !completions[0].isEnded)
      let batch = PackedBatch([PromptFamily(prompt: prompt, completions: [tokens])])
      let statistics = decoder.forward(batch, keepsActivations: false)
      #expect(statistics.allSatisfy { $0.isMostLikely })
      let rows = ReferenceDecoder(model).logits(prompt + tokens.dropLast(), model.numbers)
      for (row, token) in zip(rows.dropFirst(prompt.count - 1), tokens) {
        #expect(row[Int(token)] >= (row.max() ?? 0) - 1e-5)
      }
    }
  }

  /// The log-probability summed while decoding is the training forward's of the same ids.
  @Test(arguments: Setting.oneThread)
  func logProbabilityIsTheForwards(_ setting: Setting) throws {
    let model = try TinyModel(.tied)
    let decoder = model.decoder(setting.compute())
    for rule in [
      SamplingRule(), greedy, SamplingRule(temperature: 0.7, topK: 9, topP: 0.8),
    ] {
      let found = decoder.completions(requests(samples: 3), rule, most: 30, endTokens: [4])
      let families = zip(prompts, found).map {
        PromptFamily(prompt: $0, completions: $1.map(\.tokens))
      }
      let batch = PackedBatch(families)
      let statistics = decoder.forward(batch, keepsActivations: false)
      for (range, completion) in zip(batch.sequences, found.flatMap { $0 }) {
        let expected = statistics[range].reduce(0) { $0 + $1.logProbability }
        #expect(abs(completion.logProbability - expected) < 1e-4)
      }
    }
  }

  /// Each sampled token is what its keyed draw picks from the reference's probabilities.
  @Test func tokensAreTheKeyedDraws() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let random = KeyedRandom(seed: 1, purpose: .sampling)
    let found = decoder.completions(requests(samples: 2), most: 12)
    var borderCount = 0
    for (index, completions) in found.enumerated() {
      for (sample, completion) in completions.enumerated() {
        let rows = ReferenceDecoder(model)
          .logits(prompts[index] + completion.tokens.dropLast(), model.numbers)
          .dropFirst(prompts[index].count - 1)
        for (position, (row, token)) in zip(rows, completion.tokens).enumerated() {
          let draw = random.uniform(step: 3, row: 10 + index, sample: sample, position: position)
          let logSum = logSumExp(row)
          var below = 0.0
          for logit in row[..<Int(token)] { below += Double.exponential(logit - logSum) }
          let share = Double.exponential(row[Int(token)] - logSum)
          if draw < below - 1e-5 || draw >= below + share + 1e-5 { borderCount += 1 }
        }
      }
    }
    #expect(borderCount == 0)
  }

  @Test func topOfOneIsGreedy() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let expected = decoder.completions(requests(), greedy).map { exact($0[0]) }
    for rule in [SamplingRule(topK: 1), SamplingRule(topP: 0), SamplingRule(temperature: 1e-5)] {
      #expect(decoder.completions(requests(), rule).map { exact($0[0]) } == expected)
    }
  }

  /// A row ends at the first of any of the end tokens, which it includes.
  @Test func rowsEndAtEndTokens() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let free = decoder.completions(requests(samples: 2), most: 25)
    let ends: [Int32] = [7, 21, 30]
    let found = decoder.completions(requests(samples: 2), most: 25, endTokens: ends)
    var lengths: [Int] = []
    for (free, found) in zip(free.flatMap { $0 }, found.flatMap { $0 }) {
      let end = free.tokens.firstIndex { ends.contains($0) }
      let expected = Array(free.tokens[...(end ?? free.tokens.count - 1)])
      #expect(found.tokens == expected)
      #expect(found.isEnded == (end != nil))
      lengths.append(found.tokens.count)
    }
    #expect(Set(lengths).count > 2, "rows leave at different times")
  }

  /// An end token drawn as the last allowed token ends the row; it is not cut.
  @Test func endTokenAtTheLimitIsAnEnd() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let free = decoder.completions(requests(), greedy, most: 1)
    let token = free[0][0].tokens[0]
    let found = decoder.completions(requests(), greedy, most: 1, endTokens: [token])
    #expect(found[0][0].isEnded && found[0][0].tokens == [token])
    #expect(!free[0][0].isEnded)
  }

  @Test func aShorterLimitGivesAPrefix() throws {
    let model = try TinyModel(.tied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let long = decoder.completions(requests(samples: 2), most: 20)
    for most in [1, 2, 13] {
      let short = decoder.completions(requests(samples: 2), most: most)
      for (short, long) in zip(short.flatMap { $0 }, long.flatMap { $0 }) {
        #expect(short.tokens == Array(long.tokens[..<most]))
      }
    }
  }

  @Test func drawsAreKeyedByWhatIsDrawn() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    func tokens(_ row: Int, seed: UInt64 = 1, step: Int = 3) -> [[Int32]] {
      let request = GenerationRequest(prompt: prompts[0], sampleCount: 2, row: row)
      return decoder.completions([request], seed: seed, step: step)[0].map(\.tokens)
    }
    let one = tokens(10)
    #expect(one[0] != one[1])
    #expect(tokens(10) == one)
    for other in [tokens(11), tokens(10, seed: 2), tokens(10, step: 4)] { #expect(other != one) }
    #expect(decoder.completions(requests(samples: 2))[0].map(\.tokens) == one)
  }

  @Test func countsAndProgress() throws {
    let model = try TinyModel(.untied)
    let decoder = model.decoder(Compute(threadCount: 1))
    #expect(decoder.completions([]).isEmpty)
    var mixed = requests(samples: 2)
    mixed[1].sampleCount = 0
    mixed[3].sampleCount = 5
    var progress: [Int] = []
    let found = decoder.generate(
      mixed,
      settings: GenerationSettings(rule: SamplingRule(), maxNewTokens: 9, endTokens: [7, 21]),
      random: KeyedRandom(seed: 1, purpose: .sampling), step: 0
    ) { progress.append($0) }
    #expect(found.map(\.count) == [2, 0, 2, 5])
    let tokenCount = found.flatMap { $0 }.map(\.tokens.count).reduce(0, +)
    #expect(progress.reduce(0, +) == tokenCount)
    #expect(progress.first == 9 && progress.count <= 9)
    let none = decoder.completions([
      GenerationRequest(prompt: [1], sampleCount: 0, row: 0)
    ])
    #expect(none.map(\.count) == [0])
  }

  /// A text does not depend on its neighbours: their order, number and lengths.
  ///
  /// In every bit, log-probability included.
  @Test(
    .enabled(if: hasInvariantKernels, "only where products are invariant"),
    arguments: TinySizes.all, [1, 2])
  func neighboursChangeNoBit(_ sizes: TinySizes, threadCount: Int) throws {
    for precision in Precision.allCases {
      try expectNoNeighbours(sizes, threadCount: threadCount, precision)
    }
  }

  private func expectNoNeighbours(
    _ sizes: TinySizes, threadCount: Int, _ precision: Precision
  ) throws {
    let model = try TinyModel(sizes)
    let decoder = model.decoder(Compute(threadCount: threadCount), precision)
    let all = (0..<(threadCount == 1 ? 40 : 20)).map {
      GenerationRequest(
        prompt: randomTokens(1 + $0 % 9, below: sizes.vocabulary, seed: UInt64($0)),
        sampleCount: 1 + $0 % 3, row: $0)
    }
    func generate(_ requests: [GenerationRequest]) -> [[String]] {
      decoder.completions(requests, most: 15, endTokens: [3]).map { $0.map(exact) }
    }
    let together = generate(all)
    #expect(generate(all.reversed()) == together.reversed())
    #expect(generate(Array(all[5..<12])) == Array(together[5..<12]))
    for index in [0, 7, 17] { #expect(generate([all[index]]) == [together[index]]) }
    // Fewer samples of a prompt leave the others what they are.
    var fewer = all
    for index in fewer.indices { fewer[index].sampleCount = 1 }
    #expect(generate(fewer) == together.map { [$0[0]] })
  }
}
