import Glibc
import Testing

@testable import Worker

/// A label with the formula of its loss without T1, written a second time.
private struct LabelCase: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let label: PairLabel
  /// Mean of F over the label: V, and what T2 takes.
  let value: @Sendable (_ u: Double) -> Double
  /// The loss without T1.
  let loss: @Sendable (_ u: Double, _ preference: Double) -> Double
}

/// log(1/(1 + e⁻ᵘ)), plainly.
private func logistic(_ u: Double) -> Double { u > -30 ? -log1p(exp(-u)) : u }

private func entropy(_ u: Double) -> Double {
  -exp(logistic(u)) * logistic(u) - exp(logistic(-u)) * logistic(-u)
}

private func labelled(_ f: Double, _ preference: Double) -> Double {
  -f - 0.5 * preference * f * f
}

private let labelCases: [LabelCase] =
  [
    LabelCase(
      testDescription: "given, first", label: .given(firstIsBetter: 1),
      value: { logistic($0) }, loss: { u, _ in -logistic(u) }),
    LabelCase(
      testDescription: "given, second", label: .given(firstIsBetter: 0),
      value: { logistic(-$0) }, loss: { u, _ in -logistic(-u) }),
    LabelCase(
      testDescription: "expected", label: .expected, value: { -entropy($0) },
      loss: { $1 * entropy($0) }),
    LabelCase(
      testDescription: "drawn, first", label: .sampled(uniform: 0),
      value: { logistic($0) }, loss: { labelled(logistic($0), $1) }),
    LabelCase(
      testDescription: "drawn, second", label: .sampled(uniform: 1 - 0x1p-53),
      value: { logistic(-$0) }, loss: { labelled(logistic(-$0), $1) }),
  ]
  + [0.5, 0.3, 0.875].map { p in
    LabelCase(
      testDescription: "soft \(p)", label: .given(firstIsBetter: p),
      value: { p * logistic($0) + (1 - p) * logistic(-$0) },
      loss: { u, _ in -p * logistic(u) - (1 - p) * logistic(-u) })
  }
  + [
    LabelCase(
      testDescription: "likelier", label: .mostLikely, value: { logistic(abs($0)) },
      loss: { u, _ in -logistic(abs(u)) })
  ]

private let logits: [Double] = [-30, -12.5, -4, -1, -0.3, 0.01, 0.7, 1, 3, 9, 20, 30]

struct ObjectiveTests {
  @Test func theTableAtOne() {
    func row(_ label: PairLabel, preference: Double) -> PairLoss {
      pairLoss(
        PairLogs(first: -7, second: -9, u: 1, beta: 1), label: label, baseline: 0,
        objective: PairObjective(beta: 1, preferenceCoefficient: preference))
    }
    func digits(_ value: Double, _ expected: Double) -> Bool { abs(value - expected) < 5e-7 }
    #expect(digits(row(.given(firstIsBetter: 1), preference: 0).value, -0.313262))
    #expect(digits(row(.given(firstIsBetter: 1), preference: 0).loss, 0.313262))
    #expect(digits(row(.given(firstIsBetter: 1), preference: 0).dFirst, -0.268941))
    #expect(digits(row(.drawnFirst, preference: 0.2).dFirst, -0.252092))
    #expect(digits(row(.sampled(uniform: 0.73), preference: 0.2).dFirst, -0.252092))
    #expect(digits(row(.expected, preference: 0.2).dFirst, -0.0393224))
    #expect(digits(row(.expected, preference: 0.2).dSecond, 0.0393224))
    // σ(1) = 0.731059: the drawn label changes there.
    #expect(row(.sampled(uniform: 0.731058), preference: 0).isFirstChosen == true)
    #expect(row(.sampled(uniform: 0.731059), preference: 0).isFirstChosen == false)
  }

  @Test(arguments: labelCases)
  private func derivativesAreTheSlopesOfTheFormula(_ kind: LabelCase) {
    let referenceFirst = -11.0
    let referenceSecond = -8.5
    let second = -10.25
    for u in logits {
      for (beta, preference, response, baseline) in [
        (0.1, 0.0, 0.0, 0.0), (0.1, 0.2, 0.0, -0.7), (1, 0, 0.01, -0.7), (0.5, 1.3, 0.8, -0.25),
        (2, 0.2, 1, 0),
      ] {
        let first = u / beta + (second - referenceSecond) + referenceFirst
        let objective = PairObjective(
          beta: beta, responseCoefficient: response, preferenceCoefficient: preference)
        let frozen = kind.value(u) - baseline
        func formula(_ first: Double, _ second: Double) -> Double {
          let u = beta * ((first - referenceFirst) - (second - referenceSecond))
          return kind.loss(u, preference) - response * frozen * (first + second)
        }
        let loss = pairLoss(
          PairLogs(
            first: first, second: second, referenceFirst: referenceFirst,
            referenceSecond: referenceSecond),
          label: kind.label, baseline: baseline, objective: objective)
        #expect(abs(loss.u - u) < 1e-12)
        #expect(abs(loss.value - kind.value(u)) < 1e-12 * (1 + abs(u)))
        let scale = 1 + abs(loss.loss)
        #expect(abs(loss.loss - formula(first, second)) < 1e-12 * scale)
        let step = 1e-4 / beta
        let dFirst = (formula(first + step, second) - formula(first - step, second)) / (2 * step)
        let dSecond = (formula(first, second + step) - formula(first, second - step)) / (2 * step)
        #expect(abs(loss.dFirst - dFirst) < 2e-9 * scale, "u \(u) β \(beta)")
        #expect(abs(loss.dSecond - dSecond) < 2e-9 * scale, "u \(u) β \(beta)")
      }
    }
  }

  @Test(arguments: labelCases)
  private func swappingTheResponsesSwapsTheDerivatives(_ kind: LabelCase) {
    let objective = PairObjective(
      beta: 0.3, responseCoefficient: 0.4, preferenceCoefficient: 0.6)
    let swapped: PairLabel =
      switch kind.label {
      case .given(let p): .given(firstIsBetter: 1 - p)
      case .sampled(let uniform): .sampled(uniform: 1 - 0x1p-53 - uniform)
      case .expected, .mostLikely: kind.label
      }
    for u in logits + [0] {
      let one = pairLoss(
        PairLogs(first: -3, second: -5, u: u, beta: 0.3), label: kind.label, baseline: -0.6,
        objective: objective)
      let other = pairLoss(
        PairLogs(first: -5, second: -3, u: -u, beta: 0.3), label: swapped, baseline: -0.6,
        objective: objective)
      #expect(isClose(one.loss, other.loss) && isClose(one.value, other.value), "u \(u)")
      #expect(isClose(one.dFirst, other.dSecond) && isClose(one.dSecond, other.dFirst), "u \(u)")
      #expect(one.isFirstChosen == other.isFirstChosen.map { !$0 })
    }
  }

  @Test func atTheReferenceTheLossIsTheLogarithmOfTwo() {
    let objective = PairObjective(beta: 0.1)
    for p in [0, 0.25, 0.5, 1] {
      let loss = pairLoss(
        PairLogs(first: -20, second: -31, u: 0, beta: 0.1), label: .given(firstIsBetter: p),
        baseline: 0, objective: objective)
      #expect(abs(loss.loss - 0.6931471805599453) < 1e-15)
      #expect(abs(loss.dFirst + 0.1 * (p - 0.5)) < 1e-15 && loss.dSecond == -loss.dFirst)
    }
  }

  @Test func withoutCoefficientsItIsDPO() {
    for u in logits {
      let plain = pairLoss(
        PairLogs(first: -20, second: -31, u: u, beta: 0.25), label: .given(firstIsBetter: 1),
        baseline: -3,
        objective: PairObjective(beta: 0.25))
      // Rafailov et al., arXiv 2305.18290, equation 7 and the gradient under it.
      #expect(isClose(plain.loss, -logistic(u)))
      #expect(isClose(plain.dFirst, -0.25 / (1 + exp(u))) && plain.dSecond == -plain.dFirst)
      // Self-labels in expectation are nothing without coefficients.
      let expected = pairLoss(
        PairLogs(first: -20, second: -31, u: u, beta: 0.25), label: .expected, baseline: -3,
        objective: PairObjective(beta: 0.25))
      #expect(expected.loss == 0 && expected.dFirst == 0 && expected.dSecond == 0)
    }
  }

  @Test func tiesPullTowardsEachOtherOrNotAtAll() {
    let objective = PairObjective(beta: 1, responseCoefficient: 0.5)
    for u in [-2, -1e-7, 0, 1e-7, 2] {
      let tie = pairLoss(
        PairLogs(first: -4, second: -6, u: u, beta: 1), label: .given(firstIsBetter: 0.5),
        baseline: -1,
        objective: PairObjective(beta: 1))
      #expect(tie.isFirstChosen == nil)
      #expect(abs(tie.dFirst - 0.5 * tanh(u / 2)) < 1e-15)
    }
    for u in [-0.99e-6, 0, 0.99e-6] {
      let likelier = pairLoss(
        PairLogs(first: -4, second: -6, u: u, beta: 1), label: .mostLikely, baseline: -1,
        objective: objective)
      #expect(likelier.isFirstChosen == nil)
      // T1 alone.
      let weight = 0.5 * (logistic(abs(u)) + 1)
      #expect(isClose(likelier.dFirst, -weight) && isClose(likelier.dSecond, -weight))
    }
    let wide = pairLoss(
      PairLogs(first: -4, second: -6, u: -1.01e-6, beta: 1), label: .mostLikely, baseline: -1,
      objective: PairObjective(beta: 1))
    #expect(wide.isFirstChosen == false && abs(wide.dFirst - 0.5) < 1e-6)
  }

  @Test func aDrawnLabelInTheMeanIsTheExpectedLabel() {
    for u in logits {
      let probability = exp(logistic(u))
      for (preference, response, baseline) in [(0.2, 0.0, 0.0), (0, 0.3, -0.5), (1, 1, -0.7)] {
        func row(_ label: PairLabel) -> PairLoss {
          pairLoss(
            PairLogs(first: -14, second: -3, u: u, beta: 0.4), label: label, baseline: baseline,
            objective: PairObjective(
              beta: 0.4, responseCoefficient: response, preferenceCoefficient: preference))
        }
        let first = row(.sampled(uniform: 0))
        let second = row(.sampled(uniform: 1 - 0x1p-53))
        let expected = row(.expected)
        func mean(_ key: KeyPath<PairLoss, Double>) -> Double {
          probability * first[keyPath: key] + exp(logistic(-u)) * second[keyPath: key]
        }
        #expect(abs(mean(\.dFirst) - expected.dFirst) < 1e-12)
        #expect(abs(mean(\.dSecond) - expected.dSecond) < 1e-12)
        #expect(abs(mean(\.value) - expected.value) < 1e-12)
        // T2 alone vanishes in the mean: what is left has the coefficients as factors.
        if preference == 0 { #expect(abs(mean(\.dFirst) - mean(\.dSecond)) < 1e-12) }
      }
    }
  }

  @Test func baselinesLeaveTheirOwnRowOut() {
    let values = [-0.3, -0.9, -0.1, -2.5]
    let baselines = leaveOneOutBaselines(values: values, fallback: 9)
    for index in values.indices {
      var others = values
      others.remove(at: index)
      #expect(abs(baselines[index] - others.reduce(0, +) / 3) < 1e-15)
    }
    #expect(leaveOneOutBaselines(values: [-0.4], fallback: -0.69) == [-0.69])
    #expect(leaveOneOutBaselines(values: [], fallback: -0.69) == [])
    #expect(leaveOneOutBaselines(values: [-0.4, -0.5], fallback: 9) == [-0.5, -0.4])
  }

  @Test(arguments: labelCases)
  private func theValueWhileDecodingCountsADrawInTheMean(_ kind: LabelCase) {
    for u in logits {
      var expected = kind.value(u)
      if case .sampled = kind.label { expected = -entropy(u) }
      let found = decodeTimeValue(
        PairLogs(first: -14, second: -3, u: u, beta: 0.4), label: kind.label,
        objective: PairObjective(beta: 0.4, preferenceCoefficient: 0.3))
      #expect(abs(found - expected) < 1e-12)
    }
  }
}
