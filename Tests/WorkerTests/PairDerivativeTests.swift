import Testing

@testable import Worker

/// A loss, a link and a label that a run file takes together.
private struct PairKind: Sendable, CustomTestStringConvertible {
  var loss: PreferenceLoss
  var link: PreferenceLink
  var label: PairLabel

  var testDescription: String { "\(loss), \(link), \(label)" }
  var isSelfLabelled: Bool {
    if case .given = label { return false }
    return true
  }

  /// All of them: losses that know no probability have no link, and no label by that probability.
  static let all: [PairKind] = {
    let given = [1, 0, 0.3, 0.5].map { PairLabel.given(firstIsBetter: $0) }
    let drawn: [PairLabel] = [.drawnFirst, .drawnSecond, .expected]
    let links = PreferenceLink.allCases.flatMap { link in
      (given + drawn + [.mostLikely]).map { PairKind(loss: .sigmoid, link: link, label: $0) }
    }
    let others = [PreferenceLoss.ipo, .ipoMean, .hinge].flatMap { loss in
      (given + [.mostLikely]).map { PairKind(loss: loss, link: .logistic, label: $0) }
    }
    return links + others
  }()

  /// Settings of the kind that a run file takes: T1 and T3 want a log-probability, T3 a drawn label.
  func objectives(beta: Double) -> [PairObjective] {
    let responses: [(Double, ResponseTermEstimator)] =
      loss == .sigmoid ? [(0, .score), (0.8, .score), (0.8, .released(scale: 3))] : [(0, .score)]
    let preferences = loss == .sigmoid && isSelfLabelled && label != .mostLikely ? [0, 1.3] : [0]
    return [0, 0.1].flatMap { smoothing in
      responses.flatMap { response in
        preferences.map { preference in
          PairObjective(
            loss: loss, beta: beta, labelSmoothing: smoothing, link: link,
            responseCoefficient: response.0, preferenceCoefficient: preference,
            responseEstimator: response.1)
        }
      }
    }
  }

  /// Whether a margin within `width` of another has a kink between: hinge at ±1, |margin| at 0.
  func hasKink(near margin: Double, width: Double) -> Bool {
    if label == .mostLikely, abs(margin) <= width { return true }
    return loss == .hinge && abs(abs(margin) - 1) <= width
  }
}

private let logits: [Double] = [
  -20, -11.3, -5, -2, -1, -0.9, -0.25, 0, 0.25, 0.9, 1, 1.1, 2, 5, 11.3, 20,
]

/// Step of the differences, in the margin.
private let step = 0x1p-9

struct PairDerivativeTests {
  @Test("Each term and their sum against finite differences", arguments: PairKind.all)
  private func derivativesAreTheSlopesOfTheFormula(_ kind: PairKind) {
    let beta = 0.4
    for objective in kind.objectives(beta: beta) {
      for u in logits where !kind.hasKink(near: u, width: 3 * step) {
        for weight in [1, 2.5] {
          for first in [-6.5, -0.4] {
            var logs = PairLogs(first: first, second: -10.25, u: u, beta: beta)
            (logs.firstCount, logs.secondCount) = (3, 7)
            expectSlopes(kind, objective, logs, weight: weight)
          }
        }
      }
    }
  }

  private func expectSlopes(
    _ kind: PairKind, _ objective: PairObjective, _ logs: PairLogs, weight: Double
  ) {
    let found = pairLoss(
      logs, label: kind.label, baseline: -0.6, weight: weight, objective: objective)
    let formula = PairFormula(
      objective, label: kind.label, baseline: -0.6, weight: weight, at: logs)
    #expect(abs(found.u - logs.preferenceLogit(beta: objective.beta)) == 0)
    #expect(abs(found.value - formula.value) <= 1e-13 * (1 + abs(formula.value)))
    let all = found.sum(.all)
    #expect(all.loss == found.loss && all.first == found.dFirst && all.second == found.dSecond)
    for (name, term, function) in [
      ("t1", found.t1, formula.t1), ("t2", found.t2, formula.t2), ("t3", found.t3, formula.t3),
      ("sum", all, formula.sum),
    ] as [(String, PairTerm, (PairLogs) -> Double)] {
      let loss = function(logs)
      #expect(abs(term.loss - loss) <= 2e-13 * (1 + abs(loss)), "\(name) at \(found.u)")
      for (derivative, path) in [
        (term.first, \PairLogs.first), (term.second, \PairLogs.second),
      ] {
        let expected = slope(of: function, at: logs, along: path, objective)
        #expect(
          abs(derivative - expected.slope) <= expected.tolerance,
          "\(name) at \(found.u) of \(objective): \(derivative) against \(expected)")
      }
    }
  }

  /// Central difference of fourth order, with the bound of its rounding and truncation.
  private func slope(
    of function: (PairLogs) -> Double, at logs: PairLogs,
    along path: WritableKeyPath<PairLogs, Double>, _ objective: PairObjective
  ) -> (slope: Double, tolerance: Double) {
    // A step of the margin, not of the log-probability.
    let length =
      objective.loss == .sigmoid || objective.loss == .hinge ? step / objective.beta : step
    var largest = 1.0
    func at(_ shift: Double) -> Double {
      var moved = logs
      moved[keyPath: path] += shift * length
      let value = function(moved)
      largest = max(largest, abs(value))
      return value
    }
    let slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * length)
    return (slope, 3e-12 * largest * step / length)
  }
}
