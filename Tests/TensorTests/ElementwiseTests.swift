import Tensor
import Testing

private let shapes = [
  (1, 1), (3, 7), (5, 8), (2, 9), (64, 63), (63, 64), (65, 65), (10, 272),
]

@Suite struct ElementwiseTests {
  @Test(arguments: Setting.all) func swiGLUIsTheFormula(_ setting: Setting) {
    let compute = setting.compute()
    for (rows, width) in shapes {
      let gateUp = Table(rows: rows, columns: 2 * width, seed: 50, deviation: 3)
      let result = Operand(rows: rows, columns: width)
      let operand = Operand(gateUp)
      compute.swiGLU(operand.operand, into: result.operand)
      expectClose(result, Reference.swiGLU(gateUp), tolerance: 1e-6, "\(rows) × \(width)")
      #expect(operand.table.values == gateUp.values, "the input is read only")
    }
  }

  /// Large gates neither overflow nor lose the sign, in whole vectors and in the tail.
  @Test func swiGLUAtItsEnds() {
    let compute = Compute(threadCount: 1)
    let gates: [Double] = [-1e30, -1000, -100, -88.5, -20, -1e-30, 0, 1e-30, 20, 100, 1e30]
    var gateUp = Table(rows: 1, columns: 2 * gates.count)
    for (index, gate) in gates.enumerated() {
      gateUp[0, index] = gate
      gateUp[0, gates.count + index] = 1
    }
    let operand = Operand(gateUp)
    let result = Operand(rows: 1, columns: gates.count)
    compute.swiGLU(operand.operand, into: result.operand)
    let dActivation = Operand(rows: 1, columns: gates.count, filledWith: 1)
    let again = Operand(rows: 1, columns: gates.count)
    compute.swiGLUBackward(
      dActivation.matrix, inPlace: operand.operand, activation: again.operand)
    expectEqual(again.bits, result.bits, "the activation again")
    for (index, gate) in gates.enumerated() {
      let expected = gate < -50 ? 0 : Reference.silu(gate)
      let found = result.table[0, index]
      // Below −88 the exponential is clamped, so a gate of −1e30 leaves −1e30/e⁸⁸: still tiny.
      #expect(abs(found - expected) <= max(1e-8, 1e-6 * abs(expected)), "silu(\(gate)) \(found)")
      #expect(operand.floats[index].isFinite && operand.floats[gates.count + index].isFinite)
    }
    #expect(abs(operand.table[0, gates.count - 1] - 1) < 1e-6, "slope 1 far to the right")
  }

  @Test(arguments: Setting.twoThreads) func swiGLUBackwardAgreesWithFiniteDifferences(
    _ setting: Setting
  ) {
    let compute = setting.compute()
    for (rows, width) in shapes {
      let gateUp = Table(rows: rows, columns: 2 * width, seed: 51, deviation: 2)
      let dActivation = Table(rows: rows, columns: width, seed: 52)
      let gradient = Operand(gateUp)
      let operand = Operand(dActivation)
      let (activation, again) = (
        Operand(rows: rows, columns: width), Operand(rows: rows, columns: width)
      )
      compute.swiGLU(gradient.operand, into: activation.operand)
      compute.swiGLUBackward(
        operand.matrix, inPlace: gradient.operand, activation: again.operand)
      expectEqual(again.bits, activation.bits, "the activation again")
      expectGradient(gradient.table, at: gateUp, "\(rows) × \(width)") {
        inner(dActivation, Reference.swiGLU($0))
      }
      #expect(gradient.isGuardIntact)
    }
  }

  @Test(arguments: Setting.all) func addAdds(_ setting: Setting) {
    let compute = setting.compute()
    for (rows, columns) in shapes {
      let y = Table(rows: rows, columns: columns, seed: 53)
      let x = Table(rows: rows, columns: columns, seed: 54)
      let (result, operand) = (Operand(y), Operand(x))
      compute.add(result.matrix, operand.matrix)
      let expected = zip(y.values, x.values).map { (Float($0) + Float($1)).bitPattern }
      expectEqual(result.bits, expected)
      #expect(result.isGuardIntact)
    }
  }

  /// A row chosen several times gets its additions in the order of the indices, in every bit.
  @Test(arguments: Setting.all) func addRowsAddsInOrder(_ setting: Setting) {
    let compute = setting.compute()
    for columns in [1, 7, 8, 9, 63, 130] {
      let rows = Table(rows: 40, columns: columns, seed: 55)
      let target = Table(rows: 6, columns: columns, seed: 56, deviation: 100)
      let indices = (0..<37).map { Int32(($0 * $0 + 3) % 6) }
      let (result, operand) = (Operand(target), Operand(rows))
      compute.addRows(operand.matrix, to: result.matrix, at: indices)
      var expected = target.values.map { Float($0) }
      for (row, index) in indices.enumerated() {
        for column in 0..<columns {
          expected[Int(index) * columns + column] += Float(rows[row, column])
        }
      }
      expectEqual(result.bits, expected.map(\.bitPattern), "\(columns) columns")
      #expect(result.isGuardIntact)
    }
  }

  /// The gradient of choosing rows (an embedding) is adding rows.
  @Test func addRowsIsTheBackwardOfChoosing() {
    let compute = Compute(threadCount: 1)
    let indices: [Int32] = [2, 0, 2, 4, 1, 2]
    let weights = Table(rows: 5, columns: 9, seed: 57)
    let dy = Table(rows: 6, columns: 9, seed: 58)
    let gradient = Operand(rows: 5, columns: 9, filledWith: 0)
    let operand = Operand(dy)
    compute.addRows(operand.matrix, to: gradient.matrix, at: indices)
    expectGradient(gradient.table, at: weights) { table in
      var total = 0.0
      for (row, index) in indices.enumerated() {
        for column in 0..<9 { total += dy[row, column] * table[Int(index), column] }
      }
      return total
    }
  }
}
