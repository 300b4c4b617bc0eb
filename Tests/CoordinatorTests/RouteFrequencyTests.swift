import Tensor
import Testing
import Worker

@testable import Coordinator

/// Fractions of the three routes; offline has the rest.
private struct Fractions: Sendable, CustomTestStringConvertible {
  var ddp: Double
  var dpp: Double
  var dpr: Double

  var testDescription: String { "\(ddp), \(dpp), \(dpr)" }
  /// Shares in the order of `Route.allCases`; rounding aside nothing is below 0.
  var shares: [Double] {
    let rest = 1 - ddp - dpp - dpr
    return [rest < 1e-12 ? 0 : rest, ddp, dpp, dpr]
  }

  /// The route of a row, as a training run draws it.
  func route(step: Int, row: Int, seed: UInt64) -> Int {
    let uniform = KeyedRandom(seed: seed, purpose: .route).uniform(step: step, row: row)
    let route = Route.route(uniform: uniform, ddp: ddp, dpp: dpp, dpr: dpr)
    return Route.allCases.firstIndex(of: route) ?? -1
  }
}

private let fractions = [
  Fractions(ddp: 0.1, dpp: 0.2, dpr: 0.3), Fractions(ddp: 0.4, dpp: 0, dpr: 0),
  Fractions(ddp: 0, dpp: 0.3, dpr: 0), Fractions(ddp: 0, dpp: 0, dpr: 0.3),
  Fractions(ddp: 0.05, dpp: 0.9, dpr: 0), Fractions(ddp: 0.2, dpp: 0.3, dpr: 0.5),
  Fractions(ddp: 1.0 / 3, dpp: 1.0 / 3, dpr: 1.0 / 3), Fractions(ddp: 0, dpp: 0, dpr: 1),
  Fractions(ddp: 0, dpp: 0, dpr: 0),
]

@Suite struct RouteFrequencyTests {
  /// 400 steps of 64 rows; a false alarm for one seed in a million.
  @Test(arguments: fractions, [0, 7, UInt64.max])
  private func routesComeAsOftenAsTheirFractions(_ fractions: Fractions, seed: UInt64) {
    var counts = [Int](repeating: 0, count: 4)
    for step in 0..<400 {
      for row in 0..<64 { counts[fractions.route(step: step, row: row, seed: seed)] += 1 }
    }
    expectFrequencies(counts, fractions.shares)
  }

  /// The same row of the next step, and the next row of the same step, know nothing of a row.
  @Test(arguments: [(1, 0), (0, 1)])
  func neighboursAreIndependent(_ shift: (step: Int, row: Int)) {
    let fractions = fractions[0]
    var counts = [Int](repeating: 0, count: 16)
    for step in stride(from: 0, to: 800, by: 2) {
      for row in stride(from: 0, to: 64, by: 2) {
        let one = fractions.route(step: step, row: row, seed: 3)
        let other = fractions.route(step: step + shift.step, row: row + shift.row, seed: 3)
        counts[4 * one + other] += 1
      }
    }
    let shares = fractions.shares.flatMap { one in fractions.shares.map { one * $0 } }
    expectFrequencies(counts, shares)
  }
}

/// Expects counts that fit given shares by χ²; false alarm 1e-6, by Wilson and Hilferty's quantile.
///
/// A share of 0 allows no count, a share of 1 no other.
private func expectFrequencies(
  _ counts: [Int], _ shares: [Double], location: SourceLocation = #_sourceLocation
) {
  let total = Double(counts.reduce(0, +))
  var statistic = 0.0
  var freedom = -1.0
  for (count, share) in zip(counts, shares) {
    if share == 0 {
      #expect(count == 0, "drawn although impossible", sourceLocation: location)
      continue
    }
    let expected = share * total
    #expect(expected >= 5, "too few draws for this test", sourceLocation: location)
    statistic += (Double(count) - expected) * (Double(count) - expected) / expected
    freedom += 1
  }
  if freedom == 0 { return }
  let part = 2 / (9 * freedom)
  let root = 1 - part + 4.7534 * part.squareRoot()  // The normal quantile of 1 − 1e-6.
  let limit = freedom * root * root * root
  #expect(
    statistic <= limit, "χ² \(statistic) of \(counts), limit \(limit)", sourceLocation: location)
}
