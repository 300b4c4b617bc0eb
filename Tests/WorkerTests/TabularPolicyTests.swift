import Testing

@testable import Worker

/// The rows' mean gradient is the slope of J(θ) = E[F]: SAIL.md §3–5.
struct TabularPolicyTests {
  @Test(arguments: TabularVariant.smooth)
  func anOnlineRowIsUnbiased(_ variant: TabularVariant) {
    for policy in TabularPolicy.examples { expectUnbiased(policy, variant) }
    // At the reference self-labels have no slope; elsewhere every variant has one.
    #expect(
      TabularPolicy.examples[1].slopes { $0.mean(variant.value) }.contains { abs($0) > 0.02 })
  }

  @Test(arguments: PreferenceLink.allCases)
  func theLikelierOrderIsUnbiased(_ link: PreferenceLink) {
    // Not at the reference: there every pair is a tie, where |u| has no slope.
    for policy in TabularPolicy.examples.dropFirst() { expectUnbiased(policy, .likelier(link)) }
  }

  @Test(arguments: TabularVariant.smooth)
  func withoutT1OrT3ItIsBiased(_ variant: TabularVariant) {
    // The test above can fail: each term is needed.
    let policy = TabularPolicy.examples[1]
    let slopes = policy.slopes { $0.mean(variant.value) }
    let withoutT1 = variant.meanGradient(policy, response: 0, baseline: 0)
    #expect(zip(withoutT1, slopes).contains { abs(-$0 - $1) > 1e-3 })
    if variant.preference != 0 {
      var other = variant
      other.preference = 0
      let withoutT3 = other.meanGradient(policy, response: 1, baseline: 0)
      #expect(zip(withoutT3, slopes).contains { abs(-$0 - $1) > 1e-3 })
    }
  }

  @Test(arguments: PreferenceLink.allCases)
  func aDataPairWithSelfLabelsIsUnbiased(_ link: PreferenceLink) {
    // DDP: J over the labels of a fixed pair; no T1.
    for variant in TabularVariant.selfLabelled(link) {
      for policy in TabularPolicy.examples { expectFixedPairUnbiased(policy, variant) }
    }
    for policy in TabularPolicy.examples.dropFirst() {
      expectFixedPairUnbiased(policy, .likelier(link))
    }
  }

  @Test(arguments: PreferenceLink.allCases, [0.1, 0.3])
  func smoothedLabelsAreUnbiasedForTheSmoothedObjective(
    _ link: PreferenceLink, _ smoothing: Double
  ) {
    for variant in TabularVariant.oracleLabelled(link, smoothing: smoothing) {
      for policy in TabularPolicy.examples {
        // DPR: responses of the policy, T1 with V smoothed too; offline: a fixed pair.
        expectUnbiased(policy, variant)
        expectFixedPairUnbiased(policy, variant)
      }
    }
    let plain = TabularVariant.oracleLabelled(link)[0]
    let smoothed = TabularVariant.oracleLabelled(link, smoothing: smoothing)[0]
    let slopes = TabularPolicy.examples[1].slopes { $0.mean(plain.value) }
    let gradient = smoothed.meanGradient(TabularPolicy.examples[1], response: 1, baseline: 0)
    #expect(zip(gradient, slopes).contains { abs(-$0 - $1) > 1e-3 })
  }

  private func expectUnbiased(_ policy: TabularPolicy, _ variant: TabularVariant) {
    expectClose(
      variant.meanGradient(policy, response: 1, baseline: 0),
      policy.slopes { $0.mean(variant.value) }, variant.testDescription)
  }

  private func expectFixedPairUnbiased(_ policy: TabularPolicy, _ variant: TabularVariant) {
    for pair in [(0, 1), (1, 0), (2, 3), (1, 1)] {
      // A response against itself has u = 0 whatever θ is, where |u| has no slope.
      let slopes = policy.slopes {
        variant.value(pair.0, pair.1, $0.logit(pair.0, pair.1))
      }
      var gradient = [Double](repeating: 0, count: TabularPolicy.count)
      variant.addRow(policy, pair, response: 0, baseline: 0, probability: 1, to: &gradient)
      expectClose(gradient, slopes, "\(variant.testDescription), pair \(pair)")
    }
  }
}

/// The gradient of the loss is the negative slope of J.
func expectClose(
  _ gradient: [Double], _ slopes: [Double], _ comment: String, tolerance: Double = 1e-10,
  location: SourceLocation = #_sourceLocation
) {
  for (one, other) in zip(gradient, slopes) {
    #expect(
      abs(-one - other) < tolerance, "\(comment): \(gradient) against −\(slopes)",
      sourceLocation: location)
  }
}
