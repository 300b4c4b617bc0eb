import Testing

@testable import Worker

private let logits: [Double] = [-20, -3, -1, -0.2, 0, 0.4, 1, 2.5, 20]
private let labels: [PairLabel] = [
  .given(firstIsBetter: 1), .given(firstIsBetter: 0), .given(firstIsBetter: 0.3),
  .given(firstIsBetter: 0.5), .drawnFirst, .drawnSecond, .expected, .mostLikely,
]
private let selfLabels = Array(labels.suffix(4))

private func logs(_ u: Double, beta: Double = 0.5, counts: (Int, Int) = (1, 1)) -> PairLogs {
  var logs = PairLogs(first: -6.5, second: -9, u: u, beta: beta)
  (logs.firstCount, logs.secondCount) = counts
  return logs
}

/// Everything on: both terms, smoothing, one of the estimators.
private func objective(
  _ loss: PreferenceLoss = .sigmoid, _ link: PreferenceLink = .logistic, smoothing: Double = 0.1,
  response: Double = 0.3, _ estimator: ResponseTermEstimator = .score
) -> PairObjective {
  PairObjective(
    loss: loss, beta: 0.5, labelSmoothing: smoothing, link: link, responseCoefficient: response,
    preferenceCoefficient: 0.7, responseEstimator: estimator)
}

struct PairPropertyTests {
  @Test(arguments: PreferenceLoss.allCases, PreferenceLink.allCases)
  func smoothingMixesBothOrders(_ loss: PreferenceLoss, _ link: PreferenceLink) {
    for u in logits {
      func row(_ p: Double, smoothing: Double) -> PairLoss {
        pairLoss(
          logs(u, counts: (2, 5)), label: .given(firstIsBetter: p), baseline: -0.6,
          objective: objective(loss, link, smoothing: smoothing))
      }
      // ε of a certain label is a label of probability 1 − ε; at 0 nothing is mixed.
      for (p, smoothing) in [(1, 0.1), (0, 0.2), (0.3, 0.25), (1, 0)] {
        let mixed = smoothing + (1 - 2 * smoothing) * p
        let (one, other) = (row(p, smoothing: smoothing), row(mixed, smoothing: 0))
        #expect(one.sum(.all) == other.sum(.all) && one.value == other.value)
      }
      // What is chosen is the label as it was given.
      #expect(row(1, smoothing: 0.4).isFirstChosen == true)
      #expect(row(0.5, smoothing: 0.4).isFirstChosen == nil)
    }
  }

  @Test(arguments: PreferenceLink.allCases, selfLabels)
  func selfLabelsAreNotSmoothed(_ link: PreferenceLink, _ label: PairLabel) {
    for u in logits {
      func row(_ smoothing: Double) -> PairLoss {
        pairLoss(
          logs(u), label: label, baseline: -0.6,
          objective: objective(.sigmoid, link, smoothing: smoothing))
      }
      #expect(row(0.3) == row(0))
    }
  }

  @Test func aGivenLabelHasNoTermThroughItsProbability() {
    for (u, label) in logits.flatMap({ u in labels.map { (u, $0) } }) {
      let row = pairLoss(logs(u), label: label, baseline: -0.6, objective: objective())
      switch label {
      case .given, .mostLikely: #expect(row.t3 == PairTerm())
      case .expected: #expect(row.t2 == PairTerm() && row.t3.loss > 0)
      case .sampled: #expect(row.t2.loss > 0 && row.t3.loss < 0)
      }
    }
  }

  @Test(arguments: [1, 2, 7])
  func meanIPOOfEqualLengthsIsIPOOfTheMeans(count: Int) {
    let n = Double(count)
    for (u, label) in logits.flatMap({ u in labels.prefix(4).map { (u, $0) } }) {
      let whole = logs(u, counts: (count, count))
      let means = PairLogs(
        first: whole.first / n, second: whole.second / n, referenceFirst: whole.referenceFirst / n,
        referenceSecond: whole.referenceSecond / n)
      let mean = pairLoss(
        whole, label: label, baseline: 0, objective: objective(.ipoMean, response: 0))
      let summed = pairLoss(
        means, label: label, baseline: 0, objective: objective(.ipo, response: 0))
      #expect(isClose(mean.loss, summed.loss) && isClose(mean.value, summed.value))
      #expect(isClose(mean.dFirst, summed.dFirst / n) && mean.dSecond == -mean.dFirst)
      // u stays that of the sums.
      #expect(mean.u == whole.preferenceLogit(beta: 0.5))
    }
  }

  @Test func unequalLengthsWeighTheirOwnResponse() {
    let row = pairLoss(
      logs(2, counts: (2, 5)), label: .given(firstIsBetter: 1), baseline: 0,
      objective: objective(.ipoMean, smoothing: 0, response: 0))
    // h = (2/0.5)/2 − 0 = 2, 1/(2β) = 1.
    #expect(isClose(row.loss, 1) && isClose(row.dFirst, 1) && isClose(row.dSecond, -0.4))
  }

  @Test func theHingeIsZeroBeyondTheMargin() {
    func row(_ u: Double) -> PairLoss {
      pairLoss(
        logs(u), label: .given(firstIsBetter: 1), baseline: 0,
        objective: objective(.hinge, smoothing: 0, response: 0))
    }
    for u in [1, 1.5, 20] { #expect(row(u).sum(.all) == PairTerm() && row(u).value == 0) }
    for u in [-20, 0, 0.5] {
      #expect(isClose(row(u).loss, 1 - u))
      #expect(row(u).dFirst == -0.5 && row(u).dSecond == 0.5)
    }
  }

  @Test(arguments: PreferenceLink.allCases, labels)
  func theReleasedTermDividesByTheLogProbability(_ link: PreferenceLink, _ label: PairLabel) {
    for u in logits {
      for (first, second) in [(-6.5, -9.0), (-1, -1), (-0.5, -3), (0, -1e-9)] {
        let row = pairLoss(
          PairLogs(first: first, second: second, u: u, beta: 0.5), label: label, baseline: 17,
          objective: objective(.sigmoid, link, .released(scale: 8)))
        #expect(isClose(row.t1.first, -0.3 * 8 * row.value / min(first, -1)))
        #expect(isClose(row.t1.second, -0.3 * 8 * row.value / min(second, -1)))
        // The sign of T1 without a baseline, turned around.
        let score = pairLoss(
          PairLogs(first: first, second: second, u: u, beta: 0.5), label: label, baseline: 0,
          objective: objective(.sigmoid, link))
        #expect(row.t1.first * score.t1.first <= 0)
      }
    }
  }

  @Test(
    arguments: [ResponseTermEstimator.score, .released(scale: 2)], PreferenceLink.allCases)
  func aWeightScalesTheWholeRowButNotItsValue(
    _ estimator: ResponseTermEstimator, _ link: PreferenceLink
  ) {
    for (u, label) in logits.flatMap({ u in labels.map { (u, $0) } }) {
      func row(_ weight: Double) -> PairLoss {
        pairLoss(
          logs(u), label: label, baseline: -0.6, weight: weight,
          objective: objective(.sigmoid, link, estimator))
      }
      let (one, more) = (row(1), row(2.5))
      #expect(more.value == one.value && more.u == one.u)
      for terms in GradientTerms.named.map(\.term) + [.all] {
        let (plain, weighted) = (one.sum(terms), more.sum(terms))
        #expect(isClose(weighted.loss, 2.5 * plain.loss))
        #expect(isClose(weighted.first, 2.5 * plain.first))
        #expect(isClose(weighted.second, 2.5 * plain.second))
      }
      #expect(row(0).sum(.all).first == 0 && row(0).loss == 0)
    }
  }

  @Test(arguments: PreferenceLoss.allCases, PreferenceLink.allCases)
  func swappingTheResponsesSwapsTheDerivatives(_ loss: PreferenceLoss, _ link: PreferenceLink) {
    // Labels by a probability go with the loss that knows one.
    let labels = labels.filter {
      if case .given = $0 { return true }
      return loss == .sigmoid || $0 == .mostLikely
    }
    for (u, label) in logits.flatMap({ u in labels.map { (u, $0) } }) {
      for estimator in [ResponseTermEstimator.score, .released(scale: 2)] {
        let swappedLabel: PairLabel =
          switch label {
          case .given(let p): .given(firstIsBetter: 1 - p)
          case .sampled(let uniform): .sampled(uniform: 1 - uniform)
          case .expected, .mostLikely: label
          }
        let straight = logs(u, counts: (2, 5))
        let swapped = PairLogs(
          first: straight.second, second: straight.first,
          referenceFirst: straight.referenceSecond, referenceSecond: straight.referenceFirst,
          firstCount: 5, secondCount: 2)
        func row(_ logs: PairLogs, _ label: PairLabel) -> PairLoss {
          pairLoss(
            logs, label: label, baseline: -0.6, objective: objective(loss, link, estimator))
        }
        let (one, other) = (row(straight, label), row(swapped, swappedLabel))
        #expect(isClose(one.value, other.value) && one.u == -other.u)
        #expect(one.isFirstChosen == other.isFirstChosen.map { !$0 })
        for terms in [GradientTerms.t1, .t2, .t3] {
          let (plain, turned) = (one.sum(terms), other.sum(terms))
          #expect(isClose(plain.loss, turned.loss), "\(terms) of \(label) at \(u)")
          // IPO's slope is a difference from its target, rounded in the size of the target.
          let size = 1e-12 * max(1, abs(plain.first), abs(plain.second))
          #expect(abs(plain.first - turned.second) <= size)
          #expect(abs(plain.second - turned.first) <= size)
        }
      }
    }
  }

  @Test(arguments: PreferenceLink.allCases)
  func theExpectationOverADrawnLabelHasNoPairLoss(_ link: PreferenceLink) {
    // E[T2] = 0 at every u: G(u) m(u) = G′(u) = G(−u) m(−u).
    for u in logits {
      func row(_ label: PairLabel) -> PairLoss {
        pairLoss(logs(u), label: label, baseline: -0.6, objective: objective(.sigmoid, link))
      }
      let shares = [
        (PairLabel.drawnFirst, link.probability(u)), (.drawnSecond, link.probability(-u)),
      ]
      for path in [\PairTerm.first, \.second] {
        let mean = shares.reduce(0) { $0 + $1.1 * row($1.0).t2[keyPath: path] }
        let size = shares.reduce(0) { $0 + $1.1 * abs(row($1.0).t2[keyPath: path]) }
        #expect(size > 0 && abs(mean) <= 1e-12 * size, "\(u): \(mean) of \(size)")
        let preference = shares.reduce(0) { $0 + $1.1 * row($1.0).t3[keyPath: path] }
        #expect(
          abs(preference - row(.expected).t3[keyPath: path]) <= 1e-12 * size, "\(u)")
      }
      #expect(row(.expected).t2 == PairTerm())
    }
  }
}
