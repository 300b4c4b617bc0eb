import Glibc
import Testing

@testable import Worker

struct FarFromZeroTests {
  @Test func farFromZeroDerivativesKeepTheirDigits() {
    // For large |u|: σ(−|u|) = e^(−|u|) (1 − e^(−|u|) + …), entropy ≈ e^(−|u|) (|u| + 1).
    func slope(_ u: Double, _ label: PairLabel) -> PairLoss {
      pairLoss(
        PairLogs(first: 0, second: 0, u: u, beta: 1), label: label, baseline: 0,
        objective: PairObjective(beta: 1, preferenceCoefficient: label == .expected ? 1 : 0))
    }
    for u in [30.0, 36, 40, 100, 700] {
      let small = exp(-u)
      for sign in [1.0, -1] {
        let better: PairLabel = .given(firstIsBetter: sign > 0 ? 1 : 0)
        let worse: PairLabel = .given(firstIsBetter: sign > 0 ? 0 : 1)
        #expect(isClose(slope(sign * u, better).dFirst, -sign * small))
        #expect(isClose(slope(sign * u, better).loss, small))
        #expect(isClose(slope(sign * u, worse).dFirst, sign))
        #expect(isClose(slope(sign * u, worse).loss, u))
        #expect(isClose(slope(sign * u, .mostLikely).dFirst, -sign * small))
        #expect(isClose(slope(sign * u, .expected).dFirst, -sign * u * small))
        #expect(isClose(slope(sign * u, .expected).loss, (u + 1) * small))
      }
    }
  }
}

/// Equal up to a few roundings, however small the numbers are.
func isClose(_ a: Double, _ b: Double) -> Bool {
  abs(a - b) <= 1e-12 * max(abs(a), abs(b))
}
