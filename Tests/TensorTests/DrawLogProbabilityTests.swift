import Glibc
import Testing

@testable import Tensor

/// The log-probability of a token under the distribution that it was drawn from.
@Suite struct DrawLogProbabilityTests {
  private static let columnCounts = [1, 2, 12, 2049]

  private func draw(
    _ rule: SamplingRule, _ logits: Table, on setting: Setting
  ) -> [SampledToken] {
    let random = KeyedRandom(seed: 31, purpose: .sampling)
    return TableLogits(logits).sample(
      setting.compute(), rule, (0..<logits.rows).map { random.uniform(step: 1, row: $0) })
  }

  private func logits(_ columns: Int) -> Table {
    Table(rows: 40, columns: columns, seed: 170, deviation: 3)
  }

  /// Without temperature and filters it is the plain log-probability, in every bit.
  @Test(arguments: Setting.twoThreads) func unfilteredItIsTheLogProbability(_ setting: Setting) {
    for columns in Self.columnCounts {
      for rule in [SamplingRule(), SamplingRule(topK: columns), SamplingRule(topK: columns + 1)] {
        for token in draw(rule, logits(columns), on: setting) {
          #expect(token.drawLogProbability == token.logProbability)
        }
      }
    }
  }

  /// A choice without a draw has probability 1.
  @Test func atTemperatureZeroItIsZero() {
    for columns in Self.columnCounts {
      for token in draw(
        SamplingRule(temperature: 0), logits(columns), on: Setting.twoThreads[0])
      {
        #expect(token.drawLogProbability == 0 && (token.logProbability < 0 || columns == 1))
      }
    }
    for token in draw(SamplingRule(topK: 1), logits(12), on: Setting.twoThreads[0]) {
      #expect(token.drawLogProbability == 0)
    }
  }

  @Test(
    arguments: Setting.twoThreads,
    [
      SamplingRule(temperature: 0.7), SamplingRule(temperature: 1.6), SamplingRule(topK: 3),
      SamplingRule(topP: 0.8), SamplingRule(temperature: 0.9, topK: 7, topP: 0.9),
      SamplingRule(temperature: 0.05),
    ])
  func itIsTheLogarithmOfTheDrawnShare(_ setting: Setting, _ rule: SamplingRule) {
    for columns in Self.columnCounts {
      let table = logits(columns)
      for (row, token) in draw(rule, table, on: setting).enumerated() {
        let expected = logShares(Reference.row(table, row), rule)[Int(token.token)]
        #expect(abs(token.drawLogProbability - expected) <= 2e-6, "\(columns), row \(row)")
      }
    }
  }

  /// log of the shares that a rule leaves: temperature, then top-k, then top-p.
  private func logShares(_ logits: [Double], _ rule: SamplingRule) -> [Double] {
    let scaled = logits.map { $0 / rule.temperature }
    var kept = scaled.indices.sorted { scaled[$0] > scaled[$1] }
    if rule.topK > 0 { kept = Array(kept.prefix(rule.topK)) }
    if rule.topP < 1 {
      let logSum = Reference.logSumExp(kept.map { scaled[$0] })
      var cumulated = 0.0
      kept = Array(
        kept.prefix { index in
          defer { cumulated += exp(scaled[index] - logSum) }
          return cumulated < rule.topP
        })
    }
    let logSum = Reference.logSumExp(kept.map { scaled[$0] })
    var result = [Double](repeating: -.infinity, count: logits.count)
    for index in kept { result[index] = scaled[index] - logSum }
    return result
  }
}
