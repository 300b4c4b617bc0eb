import Glibc
import Testing

@testable import Worker

/// Baselines change the noise of T1, not its mean: SAIL.md §5.3.
struct TabularBaselineTests {
  @Test(arguments: TabularVariant.smooth)
  func aBaselineOfEarlierStepsIsUnbiased(_ variant: TabularVariant) {
    // `previous` is a constant to the step's rows.
    for policy in TabularPolicy.examples {
      let slopes = policy.slopes { $0.mean(variant.value) }
      for baseline in [-0.6931471805599453, -3, 2.5] {
        expectClose(
          variant.meanGradient(policy, response: 1, baseline: baseline), slopes,
          "baseline \(baseline)")
      }
    }
  }

  @Test(arguments: PreferenceLink.allCases)
  func leaveOneOutIsUnbiasedWhateverTheRoutes(_ link: PreferenceLink) {
    // Three rows of one step, one of each kind, all of their responses enumerated: each row's mean
    // gradient is the slope of its own J, though the baseline comes from the others.
    let own = TabularVariant.selfLabelled(link)
    let rows = [own[0], TabularVariant.oracleLabelled(link)[0], own[1]]
    let policy = TabularPolicy.examples[2]
    let p = policy.logProbabilities.map { exp($0) }
    // V of each row and pair as it is known while decoding, when no label is drawn.
    let values = rows.map { row in
      TabularPolicy.pairs.map { pair in
        decodeTimeValue(
          policy.logs(pair.0, pair.1),
          label: row.labels(pair.0, pair.1, policy.logit(pair.0, pair.1))[0].0,
          objective: row.objective(response: 1))
      }
    }
    var gradients = [[Double]](
      repeating: [Double](repeating: 0, count: TabularPolicy.count), count: rows.count)
    var baselineSums = [Double](repeating: 0, count: rows.count)
    let pairs = TabularPolicy.pairs
    for one in pairs.indices {
      for two in pairs.indices {
        for three in pairs.indices {
          let step = [one, two, three]
          let probability = step.reduce(1) { $0 * p[pairs[$1].0] * p[pairs[$1].1] }
          let baselines = leaveOneOutBaselines(
            values: step.indices.map { values[$0][step[$0]] }, fallback: 0)
          for row in rows.indices {
            baselineSums[row] += probability * baselines[row]
            rows[row].addRow(
              policy, pairs[step[row]], response: 1, baseline: baselines[row],
              probability: probability, to: &gradients[row])
          }
        }
      }
    }
    let means = rows.map { policy.mean($0.value) }
    for row in rows.indices {
      expectClose(gradients[row], policy.slopes { $0.mean(rows[row].value) }, "row \(row)")
      let others = (means.reduce(0, +) - means[row]) / 2
      #expect(abs(baselineSums[row] - others) < 1e-12, "the mean value of the other rows")
    }
  }

  @Test(arguments: PreferenceLink.allCases)
  func aBaselineOfTheRowItselfWouldBeBiased(_ link: PreferenceLink) {
    // Why a row is left out of its own mean.
    let variant = TabularVariant.oracleLabelled(link)[0]
    let policy = TabularPolicy.examples[1]
    let p = policy.logProbabilities
    var gradient = [Double](repeating: 0, count: TabularPolicy.count)
    for pair in TabularPolicy.pairs {
      let value = variant.value(pair.0, pair.1, policy.logit(pair.0, pair.1))
      variant.addRow(
        policy, pair, response: 1, baseline: value / 2, probability: exp(p[pair.0] + p[pair.1]),
        to: &gradient)
    }
    let slopes = policy.slopes { $0.mean(variant.value) }
    #expect(zip(gradient, slopes).contains { abs(-$0 - $1) > 1e-3 })
  }

  @Test(arguments: PreferenceLink.allCases)
  func aBaselineLowersTheVarianceOfT1(_ link: PreferenceLink) {
    // Why there is one: the second moment of the row's gradient, with and without.
    let variant = TabularVariant.oracleLabelled(link)[0]
    let policy = TabularPolicy.examples[1]
    func secondMoment(_ baseline: Double) -> Double {
      policy.mean { first, second, _ in
        var gradient = [Double](repeating: 0, count: TabularPolicy.count)
        variant.addRow(
          policy, (first, second), response: 1, baseline: baseline, probability: 1,
          to: &gradient)
        return gradient.reduce(0) { $0 + $1 * $1 }
      }
    }
    #expect(secondMoment(policy.mean(variant.value)) < 0.8 * secondMoment(0))
  }
}
