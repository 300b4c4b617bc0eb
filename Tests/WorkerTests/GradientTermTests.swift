import Glibc
import Model
import Tensor
import Testing

@testable import Worker

private let kinds: [(Route, PairLabel)] = [
  (.offline, .given(firstIsBetter: 1)), (.ddp, .expected), (.dpp, .expected),
  (.dpr, .given(firstIsBetter: 0)), (.dpp, .sampled(uniform: 0.2)),
  (.offline, .given(firstIsBetter: 0.3)), (.dpr, .given(firstIsBetter: 0.5)),
]

private let gamma = 0.35

private func settings(_ route: Route) -> PairObjective {
  switch route {
  case .offline: PairObjective(beta: 0.3, labelSmoothing: 0.1, divergenceCoefficient: gamma)
  case .ddp: PairObjective(beta: 0.3, preferenceCoefficient: 0.7)
  case .dpp: PairObjective(beta: 0.3, responseCoefficient: 0.2, preferenceCoefficient: 0.5)
  case .dpr: PairObjective(beta: 0.3, responseCoefficient: 0.25)
  }
}

private func norm(_ values: [Float]) -> Double {
  values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
}

/// The parts of the gradient, each by itself: T1, T2, T3 and the penalty of RevKL.
struct GradientTermTests {
  /// Rows of every kind: one offline row with a response of the reference, online rows with weights.
  private func rows(_ tiny: TinyWorker) -> [PairRow] {
    var rows = tiny.rows(kinds)
    rows[5].referenceResponse = [3, 19, 7, 7, 0, 11]
    let plain = tiny.worker.pairGradient(rows, objective: settings, addingTo: nil)
    for (index, weight) in [(2, 1.7), (3, 0.4), (4, 14)] {
      rows[index].generated = plain[index].first + plain[index].second - log(weight)
    }
    return rows
  }

  @Test(arguments: [1, 2]) func theTermsAddUpToTheGradient(threadCount: Int) throws {
    let tiny = try TinyWorker(threadCount: threadCount)
    let rows = rows(tiny)
    for group in [rows] + rows.map({ [$0] }) {
      let whole = tiny.gradient([group], settings, hasPenalty: true)
      let parts = GradientTerms.named.map {
        tiny.gradient([group], settings, terms: $0.term, hasPenalty: true)
      }
      var difference = whole.gradient
      for part in parts {
        for index in difference.indices { difference[index] -= part.gradient[index] }
        // The results are of all terms, whichever are asked for.
        #expect(part.results.map(\.loss) == whole.results.map(\.loss))
      }
      let size = parts.reduce(0) { $0 + norm($1.gradient) }
      #expect(size > 0 && norm(difference) <= 1e-6 * size)
      // No term is another's: together without one, the rest.
      let rest = tiny.gradient(
        [group], settings, terms: GradientTerms.all.subtracting(.t2), hasPenalty: true)
      for index in difference.indices {
        difference[index] = whole.gradient[index] - rest.gradient[index] - parts[1].gradient[index]
      }
      #expect(norm(difference) <= 1e-6 * size)
    }
  }

  @Test func aRowHasTheTermsOfItsRoute() throws {
    let tiny = try TinyWorker()
    let expected: [[Bool]] = [
      [false, true, false, true], [false, false, true, false], [true, false, true, false],
      [true, true, false, false], [true, true, true, false], [false, true, false, true],
      [true, true, false, false],
    ]
    for (row, terms) in zip(rows(tiny), expected) {
      let found = GradientTerms.named.map {
        norm(tiny.gradient([[row]], settings, terms: $0.term, hasPenalty: true).gradient) > 0
      }
      #expect(found == terms, "\(row.route), \(row.label)")
    }
  }

  @Test func thePenaltyIsTheSlopeOfTheDivergence() throws {
    let tiny = try TinyWorker()
    let rows = rows(tiny)
    let (results, gradient) = tiny.gradient([rows], settings, terms: .revkl, hasPenalty: true)
    let penalized = [0, 5]
    for (index, result) in results.enumerated() {
      #expect((result.divergence > 0.1) == penalized.contains(index))
    }
    // The reference stays as it is while the policy moves.
    let reference = tiny.referenceRows(rows)
    func penalty() -> Double {
      tiny.worker.pairGradient(rows, objective: settings, reference: reference, addingTo: nil)
        .reduce(0) { $0 + gamma * $1.divergence }
    }
    for number in 0..<4 {
      let direction = tiny.direction(number)
      let expected = tiny.slope(along: direction, penalty)
      let found = zip(gradient, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      #expect(abs(found - expected) < 2e-5 * norm(gradient), "\(found) against \(expected)")
    }
  }

  @Test func thePenaltyIsTakenOnTheReferencesResponseOrBothOfThePair() throws {
    let tiny = try TinyWorker()
    var row = tiny.rows([kinds[0]])[0]
    func result(_ row: PairRow) -> PairResult {
      tiny.worker.pairGradient(
        [row], objective: settings, reference: tiny.referenceRows([row]), addingTo: nil)[0]
    }
    func onBoth(_ response: [Int32]) -> Double {
      var row = row
      (row.first, row.second) = (response, response)
      return result(row).divergence
    }
    let own = result(row)
    #expect(isNear(own.divergence, (onBoth(row.first) + onBoth(row.second)) / 2))
    let response: [Int32] = [3, 19, 7, 7, 0, 11]
    row.referenceResponse = response
    let other = result(row)
    #expect(isNear(other.divergence, onBoth(response)))
    // The response is no part of the pair.
    #expect(other.first == own.first && other.second == own.second && other.tokens == own.tokens)
    #expect(isNear(other.loss - own.loss, gamma * (other.divergence - own.divergence)))
    // Without the reference's rows there is no penalty.
    let none = tiny.worker.pairGradient([row], objective: settings, addingTo: nil)[0]
    #expect(none.divergence == 0 && isNear(none.loss + gamma * other.divergence, other.loss))
  }

  @Test func droppedRowsHaveNoPenalty() throws {
    let tiny = try TinyWorker()
    let rows = rows(tiny)
    var dropped = rows[5]
    dropped.isDropped = true
    let (with, gradientWith) = tiny.gradient(
      [[dropped, rows[0], dropped, rows[5]]], settings, hasPenalty: true)
    let (without, gradientWithout) = tiny.gradient(
      [[rows[0], rows[5]]], settings, hasPenalty: true)
    #expect(with.map(\.divergence) == [0, without[0].divergence, 0, without[1].divergence])
    let isEqual = gradientWith == gradientWithout
    #expect(isEqual)
  }

  @Test func importanceWeightsScaleARowsGradient() throws {
    let tiny = try TinyWorker()
    let weighted = rows(tiny)
    let weights = tiny.worker.pairGradient(weighted, objective: settings, addingTo: nil).map(
      \.weight)
    // The last would be 14, and is truncated.
    for (found, expected) in zip(weights, [1, 1, 1.7, 0.4, 10, 1, 1]) {
      #expect(isNear(found, expected))
    }
    for (row, weight) in zip(weighted, weights) {
      var plain = row
      plain.generated = nil
      let (one, gradient) = tiny.gradient([[plain]], settings)
      let (other, weightedGradient) = tiny.gradient([[row]], settings)
      #expect(isNear(other[0].loss, weight * one[0].loss) && other[0].value == one[0].value)
      let difference = zip(weightedGradient, gradient).map { $0 - Float(weight) * $1 }
      #expect(norm(difference) <= 1e-6 * norm(weightedGradient))
    }
  }

  private func isNear(_ found: Double, _ expected: Double) -> Bool {
    abs(found - expected) <= 1e-12 * max(1, abs(expected))
  }
}
