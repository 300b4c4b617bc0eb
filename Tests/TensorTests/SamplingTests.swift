import Glibc
import Testing

@testable import Tensor

/// Logits of given probabilities, the same in every row.
private func logits(of probabilities: [Double], rows: Int) -> TableLogits {
  var table = Table(rows: rows, columns: probabilities.count)
  for row in 0..<rows {
    for (index, probability) in probabilities.enumerated() {
      table[row, index] = log(probability) + 0.75
    }
  }
  return TableLogits(table)
}

/// Tokens chosen from given probabilities, one for each u.
private func tokens(
  _ probabilities: [Double], _ rule: SamplingRule, _ uniforms: [Double],
  on setting: Setting = Setting(threadCount: 1, usesOneDNN: true)
) -> [Int] {
  let logits = logits(of: probabilities, rows: uniforms.count)
  return logits.sample(setting.compute(), rule, uniforms).map { Int($0.token) }
}

@Suite struct SamplingTests {
  private let four = [0.1, 0.2, 0.3, 0.4]

  @Test func theFirstWhoseShareExceedsTheDraw() {
    let uniforms = [0, 0.05, 0.099, 0.101, 0.299, 0.301, 0.599, 0.601, 0.999999, 1 - 0x1p-53]
    #expect(tokens(four, SamplingRule(), uniforms) == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3])
  }

  @Test func temperatureSharpensAndFlattens() {
    // At ½ the shares are p²: 1, 4, 9, 16 of 30; at 2 √p.
    let rule = SamplingRule(temperature: 0.5)
    #expect(
      tokens(four, rule, [0.033, 0.034, 0.166, 0.167, 0.466, 0.467]) == [0, 1, 1, 2, 2, 3])
    let roots = four.map { $0.squareRoot() }
    let first = roots[0] / roots.reduce(0, +)
    #expect(
      tokens(four, SamplingRule(temperature: 2), [first - 1e-5, first + 1e-5]) == [0, 1])
    // Almost greedy, and so cold that 1/T overflows.
    for temperature in [1e-3, 1e-30, 1e-45, 1e-300] {
      #expect(
        tokens(four, SamplingRule(temperature: temperature), [0, 0.5, 0.999]) == [3, 3, 3],
        "temperature \(temperature)")
    }
  }

  @Test func filtersKeepWhatTheySay() {
    func kept(_ probabilities: [Double], _ rule: SamplingRule) -> [Int] {
      let uniforms = (0..<400).map { (Double($0) + 0.5) / 400 }
      return Array(Set(tokens(probabilities, rule, uniforms))).sorted()
    }
    #expect(kept(four, SamplingRule(topK: 1)) == [3])
    #expect(kept(four, SamplingRule(topK: 2)) == [2, 3])
    #expect(kept(four, SamplingRule(topK: 4)) == [0, 1, 2, 3])
    #expect(kept(four, SamplingRule(topK: 5)) == [0, 1, 2, 3])
    #expect(kept(four, SamplingRule(topP: 0)) == [3])
    #expect(kept(four, SamplingRule(topP: 0.39)) == [3])
    #expect(kept(four, SamplingRule(topP: 0.41)) == [2, 3])
    #expect(kept(four, SamplingRule(topP: 0.69)) == [2, 3])
    #expect(kept(four, SamplingRule(topP: 0.71)) == [1, 2, 3])
    #expect(kept(four, SamplingRule(topP: 0.91)) == [0, 1, 2, 3])
    #expect(kept(four, SamplingRule(topP: 1)) == [0, 1, 2, 3])
    // Top-p counts what top-k left: 3/7 and 4/7.
    #expect(kept(four, SamplingRule(topK: 2, topP: 0.57)) == [3])
    #expect(kept(four, SamplingRule(topK: 2, topP: 0.58)) == [2, 3])
    // Temperature comes before top-p: at ½ the largest has 16 of 30.
    #expect(kept(four, SamplingRule(temperature: 0.5, topP: 0.53)) == [3])
    #expect(kept(four, SamplingRule(temperature: 0.5, topP: 0.54)) == [2, 3])
    // Ties go to the lower id.
    #expect(kept([0.25, 0.25, 0.25, 0.25], SamplingRule(topK: 2)) == [0, 1])
    #expect(kept([0.1, 0.3, 0.3, 0.3], SamplingRule(topP: 0.5)) == [1, 2])
  }

  @Test func greedyTakesTheMostLikely() {
    for (probabilities, expected) in [
      (four, 3), ([0.4, 0.3, 0.2, 0.1], 0), ([0.1, 0.4, 0.1, 0.4], 1), ([1], 0),
    ] {
      for u in [0, 0.5, 0.999] {
        #expect(tokens(probabilities, SamplingRule(temperature: 0), [u]) == [expected])
      }
    }
  }

  @Test func impossibleTokensAreNeverDrawn() {
    var table = Table(rows: 2, columns: 20).filled(-.infinity)
    for row in 0..<2 {
      table[row, 7] = -3
      table[row, 12] = -3
    }
    let logits = TableLogits(table)
    let compute = Compute(threadCount: 1)
    for rule in [SamplingRule(), SamplingRule(temperature: 2), SamplingRule(topK: 5, topP: 0.9)] {
      let drawn = logits.sample(compute, rule, [0, 1 - 0x1p-53])
      #expect(drawn.map(\.token) == [7, 12])
      #expect(drawn.allSatisfy { abs($0.logProbability + log(2)) < 1e-6 })
    }
  }

  /// A model that has diverged must not end the process in the sampler.
  @Test func undefinedLogitsGiveAnUndefinedLogProbability() {
    let compute = Compute(threadCount: 1)
    for value in [Double.nan, .infinity] {
      let logits = TableLogits(Table(rows: 1, columns: 20).filled(value))
      for rule in [
        SamplingRule(), SamplingRule(temperature: 0), SamplingRule(temperature: 0.7),
        SamplingRule(topK: 3), SamplingRule(topP: 0.9), SamplingRule(topK: 3, topP: 0.9),
      ] {
        let drawn = logits.sample(compute, rule, [0.5])
        #expect(drawn.count == 1 && (0..<20).contains(Int(drawn[0].token)))
        #expect(!drawn[0].logProbability.isFinite)
      }
    }
  }

  /// The log-probability is that of the plain soft-max, whatever the filters.
  @Test func logProbabilityKnowsNoFilter() {
    let logits = logits(of: four, rows: 1)
    let compute = Compute(threadCount: 1)
    for rule in [
      SamplingRule(), SamplingRule(temperature: 0), SamplingRule(temperature: 0.3, topK: 2),
      SamplingRule(temperature: 5, topP: 0.5),
    ] {
      let drawn = logits.sample(compute, rule, [0.9])[0]
      #expect(abs(drawn.logProbability - log(four[Int(drawn.token)])) < 1e-6)
    }
  }

  /// Keyed draws on a large vocabulary: each token is the one that a sum in Double gives.
  @Test(arguments: Setting.all) func seededTokensAreExact(_ setting: Setting) {
    let compute = setting.compute()
    let table = Table(rows: 60, columns: 4100, seed: 110, deviation: 2)
    let logits = TableLogits(table)
    let random = KeyedRandom(seed: 12, purpose: .sampling)
    let uniforms = (0..<60).map { random.uniform(step: 2, row: $0, position: 5) }
    let drawn = logits.sample(compute, SamplingRule(temperature: 1.25), uniforms)
    for row in 0..<60 {
      let weights = Reference.row(table, row).map { exp($0 / 1.25) }
      let target = uniforms[row] * weights.reduce(0, +)
      var below = 0.0
      for weight in weights[..<Int(drawn[row].token)] { below += weight }
      // Rounding may move a border by 1e-6 of the whole.
      let slack = 1e-6 * weights.reduce(0, +)
      #expect(below <= target + slack)
      #expect(below + weights[Int(drawn[row].token)] >= target - slack)
    }
  }

  /// Frequencies of 30 000 keyed draws under each rule; false alarm for one seed in a million.
  @Test(arguments: [
    SamplingRule(), SamplingRule(temperature: 0.6), SamplingRule(temperature: 1.7),
    SamplingRule(topK: 5), SamplingRule(topP: 0.7),
    SamplingRule(temperature: 1.3, topK: 7, topP: 0.8),
  ]) func frequenciesAreTheProbabilities(_ rule: SamplingRule) {
    let weights = [3.0, 1, 7, 2, 5, 1.5, 8, 4, 0.5, 6, 2.5, 9]
    let probabilities = weights.map { $0 / weights.reduce(0, +) }
    let random = KeyedRandom(seed: 20, purpose: .sampling)
    let uniforms = (0..<30_000).map { random.uniform(step: 1, row: $0 % 100, position: $0 / 100) }
    var counts = [Int](repeating: 0, count: weights.count)
    for token in tokens(probabilities, rule, uniforms) { counts[token] += 1 }
    expectFrequencies(counts, expectedShares(probabilities, rule))
  }

  /// Shares that the rule leaves: temperature, then top-k, then top-p.
  private func expectedShares(_ probabilities: [Double], _ rule: SamplingRule) -> [Double] {
    var shares = probabilities.map { pow($0, 1 / rule.temperature) }
    let order = shares.indices.sorted { shares[$0] > shares[$1] }
    if rule.topK > 0 { for index in order.dropFirst(rule.topK) { shares[index] = 0 } }
    let total = shares.reduce(0, +)
    var cumulated = 0.0
    for index in order {
      if cumulated >= rule.topP * total { shares[index] = 0 }
      cumulated += shares[index]
    }
    let left = shares.reduce(0, +)
    return shares.map { $0 / left }
  }
}
