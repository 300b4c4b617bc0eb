import Glibc
import Testing

@testable import Tensor

// What is not a product is computed in floats and rounded once: on the same inputs a bf16 result is the
// rounded result in f32, in every bit.

private let shapes = [(1, 1), (3, 7), (5, 8), (2, 9), (33, 63), (64, 65), (10, 272)]

@Suite struct BF16OperationTests {
  private func expectRounded(
    _ found: Operand, _ wide: Operand, _ what: String = "",
    location: SourceLocation = #_sourceLocation
  ) {
    #expect(found.precision == .bf16 && found.isGuardIntact, sourceLocation: location)
    expectEqual(
      found.floats, wide.floats.map { widened(nearestBF16($0)) }, what, location: location)
  }

  @Test(arguments: [1, 2]) func gatedUnits(threadCount: Int) {
    let compute = Compute(threadCount: threadCount)
    for (rows, width) in shapes {
      let table = Table(rows: rows, columns: 2 * width, seed: 140, deviation: 3).rounded(.bf16)
      let da = Operand(Table(rows: rows, columns: width, seed: 141))
      func run(_ precision: Precision) -> (activation: Operand, again: Operand, gradient: Operand) {
        let gateUp = Operand(table, precision)
        let (activation, again) = (
          Operand(rows: rows, columns: width, precision),
          Operand(rows: rows, columns: width, precision)
        )
        compute.swiGLU(gateUp.operand, into: activation.operand)
        compute.swiGLUBackward(
          da.matrix, inPlace: gateUp.operand, activation: again.operand)
        return (activation, again, gateUp)
      }
      let (wide, narrow) = (run(.f32), run(.bf16))
      expectRounded(narrow.activation, wide.activation, "\(rows) × \(width)")
      expectRounded(narrow.gradient, wide.gradient, "gradient, \(rows) × \(width)")
      expectEqual(narrow.again.bits, narrow.activation.bits)
    }
  }

  @Test(arguments: [1, 2]) func norms(threadCount: Int) {
    let compute = Compute(threadCount: threadCount)
    for (rows, columns) in shapes {
      let x = Operand(Table(rows: rows, columns: columns, seed: 142))
      let weight = Operand(Table(rows: 1, columns: columns, seed: 143))
      let inverse = Operand(rows: 1, columns: rows)
      let (wide, narrow, again) = (
        Operand(rows: rows, columns: columns), Operand(rows: rows, columns: columns, .bf16),
        Operand(rows: rows, columns: columns, .bf16)
      )
      for result in [wide, narrow] {
        compute.rmsNorm(
          x.matrix, weight: weight.base, epsilon: 1e-5, into: result.operand,
          inverseRMS: inverse.base)
      }
      compute.rmsNormAgain(
        x.matrix, weight: weight.base, inverseRMS: inverse.base, into: again.operand)
      expectRounded(narrow, wide)
      expectEqual(again.bits, narrow.bits)
    }
  }

  @Test func dropoutAndColumns() {
    let compute = Compute(threadCount: 2)
    let table = Table(rows: 9, columns: 70, seed: 144).rounded(.bf16)
    let draws = DropoutDraws(probability: 0.3, seed: 1, step: 2)
    let keys = (0..<8).map { DropoutKey(row: UInt32($0), place: 3) }
    func run(_ precision: Precision) -> [Operand] {
      let x = Operand(table, precision)
      let (dropped, columns) = (
        Operand(rows: 9, columns: 70, precision), Operand(rows: 9, columns: 11, precision)
      )
      compute.dropout(x.operand, draws: draws, keys: keys, layer: 4, into: dropped.operand)
      compute.copyColumns(of: x.operand, first: 21, scale: 0.3, into: columns.operand)
      // In place.
      compute.dropout(x.operand, draws: draws, keys: keys, layer: 4, into: x.operand)
      expectEqual(x.bits, dropped.bits)
      return [dropped, columns]
    }
    for (narrow, wide) in zip(run(.bf16), run(.f32)) { expectRounded(narrow, wide) }
  }

  @Test(arguments: [1, 2]) func biasGradient(threadCount: Int) {
    let compute = Compute(threadCount: threadCount)
    for (rows, columns) in shapes {
      let table = Table(rows: rows, columns: columns, seed: 145).rounded(.bf16)
      let start = Table(rows: 1, columns: columns, seed: 146)
      let (wide, narrow) = (Operand(start), Operand(start))
      let (floats, halves) = (Operand(table), Operand(table, .bf16))
      compute.biasGradient(floats.operand, addingTo: wide.base)
      compute.biasGradient(halves.operand, addingTo: narrow.base)
      expectEqual(narrow.bits, wide.bits, "bf16 numbers are exact floats")
    }
  }
}
