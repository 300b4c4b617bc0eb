import Tensor
import Testing

private let shapes = [
  (1, 1), (3, 7), (5, 8), (2, 9), (33, 31), (7, 33), (64, 63), (65, 64), (63, 65), (4, 1024),
]

@Suite struct RMSNormTests {
  @Test(arguments: Setting.all) func forwardIsTheFormula(_ setting: Setting) {
    let compute = setting.compute()
    for (rows, columns) in shapes {
      let x = Table(rows: rows, columns: columns, seed: 30)
      let weight = Table(rows: 1, columns: columns, seed: 31)
      let (xOperand, weightOperand) = (Operand(x), Operand(weight))
      let y = Operand(rows: rows, columns: columns)
      let inverse = Operand(rows: 1, columns: rows)
      compute.rmsNorm(
        xOperand.matrix, weight: weightOperand.base, epsilon: 1e-2, into: y.operand,
        inverseRMS: inverse.base)
      let reference = Reference.rmsNorm(x, weight: weight, epsilon: 1e-2)
      expectClose(y, reference.y, "\(rows) × \(columns)")
      expectClose(inverse, reference.inverseRMS, tolerance: 1e-6)
      let expected = y.bits
      compute.rmsNorm(
        xOperand.matrix, weight: weightOperand.base, epsilon: 1e-2, into: xOperand.operand,
        inverseRMS: inverse.base)
      expectEqual(xOperand.bits, expected, "in place")
      let (again, input) = (Operand(rows: rows, columns: columns), Operand(x))
      compute.rmsNormAgain(
        input.matrix, weight: weightOperand.base, inverseRMS: inverse.base, into: again.operand)
      expectEqual(again.bits, expected, "again from 1/RMS")
    }
  }

  @Test func rowsOfZerosStayZero() {
    let compute = Compute(threadCount: 1)
    let x = Operand(rows: 2, columns: 5, filledWith: 0)
    let weight = Operand(rows: 1, columns: 5, filledWith: 2)
    let inverse = Operand(rows: 1, columns: 2)
    compute.rmsNorm(
      x.matrix, weight: weight.base, epsilon: 1e-6, into: x.operand, inverseRMS: inverse.base)
    #expect(x.floats == [Float](repeating: 0, count: 10))
    expectClose(inverse, Table(rows: 1, columns: 2).filled(1000), tolerance: 1e-6)
  }

  @Test(arguments: Setting.twoThreads) func gradientsAgreeWithFiniteDifferences(_ setting: Setting)
  {
    let compute = setting.compute()
    for (rows, columns) in shapes {
      let x = Table(rows: rows, columns: columns, seed: 32)
      let weight = Table(rows: 1, columns: columns, seed: 33)
      let dy = Table(rows: rows, columns: columns, seed: 34)
      let old = Table(rows: rows, columns: columns, seed: 35)
      let oldWeight = Table(rows: 1, columns: columns, seed: 36)
      let forward = Reference.rmsNorm(x, weight: weight, epsilon: 1e-2)
      let (xOperand, weightOperand, dyOperand, inverse) = (
        Operand(x), Operand(weight), Operand(dy), Operand(forward.inverseRMS)
      )

      let dx = Operand(rows: rows, columns: columns, filledWith: 0)
      compute.rmsNormBackward(
        dyOperand.matrix, x: xOperand.matrix, weight: weightOperand.base,
        inverseRMS: inverse.base, addingTo: dx.matrix)
      expectGradient(dx.table, at: x, "input, \(rows) × \(columns)") {
        inner(dy, Reference.rmsNorm($0, weight: weight, epsilon: 1e-2).y)
      }
      let added = Operand(old)
      compute.rmsNormBackward(
        dyOperand.matrix, x: xOperand.matrix, weight: weightOperand.base,
        inverseRMS: inverse.base, addingTo: added.matrix)
      expectClose(added, sum(old, dx.table), tolerance: 1e-6, "input gradient is added")

      let dw = Operand(rows: 1, columns: columns, filledWith: 0)
      compute.rmsNormWeightGradient(
        dyOperand.matrix, x: xOperand.matrix, inverseRMS: inverse.base, addingTo: dw.base)
      expectGradient(dw.table, at: weight, "weight, \(rows) × \(columns)") {
        inner(dy, Reference.rmsNorm(x, weight: $0, epsilon: 1e-2).y)
      }
      let dwAdded = Operand(oldWeight)
      compute.rmsNormWeightGradient(
        dyOperand.matrix, x: xOperand.matrix, inverseRMS: inverse.base, addingTo: dwAdded.base)
      let sums = zip(oldWeight.values, dw.floats).map { (Float($0) + $1).bitPattern }
      expectEqual(dwAdded.bits, sums, "the sum must be finished before it is added")
    }
  }
}
