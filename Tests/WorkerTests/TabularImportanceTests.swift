import Glibc
import Testing

@testable import Worker

/// Rows whose responses come from a tempered policy, weighed by π/q: SAIL.md §5.4.
struct TabularImportanceTests {
  @Test(arguments: TabularVariant.smooth, [0.8, 0.9, 1.3])
  func weightedRowsAreUnbiased(_ variant: TabularVariant, _ temperature: Double) {
    for policy in TabularPolicy.examples.dropFirst() {
      let slopes = policy.slopes { $0.mean(variant.value) }
      for baseline in [0, -0.6931471805599453, 2.5] {
        let gradient = meanGradient(policy, variant, temperature, baseline: baseline)
        expectClose(gradient, slopes, "baseline \(baseline)")
      }
      // The test can fail: without weights the mean is another.
      let plain = meanGradient(policy, variant, temperature, baseline: 0, isWeighted: false)
      #expect(zip(plain, slopes).contains { abs(-$0 - $1) > 1e-3 })
    }
  }

  @Test(arguments: [0.8, 0.9, 1.3])
  func noWeightOfTheseRowsIsTruncated(_ temperature: Double) {
    for policy in TabularPolicy.examples {
      let p = policy.logProbabilities
      let q = policy.logProbabilities(temperature: temperature)
      var mean = 0.0
      for (first, second) in TabularPolicy.pairs {
        let weight = importanceWeight(
          policy.logs(first, second), generated: q[first] + q[second])
        #expect(weight < largestImportanceWeight)
        #expect(isClose(weight, exp(p[first] + p[second] - q[first] - q[second])))
        mean += exp(q[first] + q[second]) * weight
      }
      #expect(abs(mean - 1) < 1e-12)
    }
  }

  @Test func weightsAreTruncated() {
    let logs = PairLogs(first: -3, second: -4)
    #expect(importanceWeight(logs, generated: -7) == 1)
    #expect(isClose(importanceWeight(logs, generated: -7 - log(9.5)), 9.5))
    #expect(importanceWeight(logs, generated: -7 - log(10.5)) == 10)
    #expect(importanceWeight(logs, generated: -2000) == 10)
    #expect(importanceWeight(logs, generated: 2000) == 0)
  }

  private func meanGradient(
    _ policy: TabularPolicy, _ variant: TabularVariant, _ temperature: Double, baseline: Double,
    isWeighted: Bool = true
  ) -> [Double] {
    let q = policy.logProbabilities(temperature: temperature)
    var gradient = [Double](repeating: 0, count: TabularPolicy.count)
    for pair in TabularPolicy.pairs {
      let generated = q[pair.0] + q[pair.1]
      variant.addRow(
        policy, pair, response: 1, baseline: baseline, probability: exp(generated),
        generated: isWeighted ? generated : nil, to: &gradient)
    }
    return gradient
  }
}
