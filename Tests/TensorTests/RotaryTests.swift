import Tensor
import Testing

private let cases: [(heads: Int, size: Int, positions: [Int32])] = [
  (1, 2, [0]), (3, 4, [0, 1, 2, 3, 2, 3]), (2, 6, [5, 0, 31]), (1, 64, (0..<65).map { $0 }),
  (6, 16, (0..<17).map { 4 * $0 }), (2, 10, []),
]

@Suite struct RotaryTests {
  @Test(arguments: Setting.all) func rotatesTheFirstHeads(_ setting: Setting) {
    let compute = setting.compute()
    for (heads, size, positions) in cases {
      // Columns behind the rotated heads are the values; they stay.
      let x = Table(rows: positions.count, columns: heads * size + 5, seed: 40)
      let angles = RotaryAngles(
        positions: positions, embedding: RotaryEmbedding(base: 10000, headSize: size))
      let y = Operand(x)
      compute.rotate(y.matrix, headCount: heads, angles: angles, inverse: false)
      let reference = Reference.rotate(
        x, headCount: heads, headSize: size, positions: positions, base: 10000, inverse: false)
      // The angle is a 32-bit product: up to 64 · 2⁻²⁴ off.
      expectClose(y, reference, tolerance: 1e-5, "\(heads) × \(size)")
      let found = y.table
      for row in 0..<x.rows {
        let values = Reference.row(found, row).suffix(5)
        #expect(Array(values) == Array(Reference.row(x, row).suffix(5)))
      }
      compute.rotate(y.matrix, headCount: heads, angles: angles, inverse: true)
      expectClose(y, x, tolerance: 1e-6, "there and back")
    }
  }

  @Test func farPositionsAreRoundedAsInTransformers() {
    let compute = Compute(threadCount: 1)
    let positions: [Int32] = [32767, 100_003]
    let angles = RotaryAngles(
      positions: positions, embedding: RotaryEmbedding(base: 1_000_000, headSize: 4))
    let x = Operand(rows: 2, columns: 4, filledWith: 0)
    for row in 0..<2 {
      x.base[row * 4] = 1
      x.base[row * 4 + 1] = 1
    }
    compute.rotate(x.matrix, headCount: 1, angles: angles, inverse: false)
    for (row, position) in positions.enumerated() {
      for (index, frequency) in [Float(1), Float(0.001)].enumerated() {
        let expected = Reference.turn(by: Float(position) * frequency)
        #expect(abs(x.table[row, index] - expected.cosine) < 1e-6)
        #expect(abs(x.table[row, 2 + index] - expected.sine) < 1e-6)
      }
    }
  }

  @Test(arguments: Setting.all) func inverseIsTheBackward(_ setting: Setting) {
    let compute = setting.compute()
    for (heads, size, positions) in cases where !positions.isEmpty {
      let x = Table(rows: positions.count, columns: heads * size, seed: 41)
      let dy = Table(rows: positions.count, columns: heads * size, seed: 42)
      let gradient = Operand(dy)
      let angles = RotaryAngles(
        positions: positions, embedding: RotaryEmbedding(base: 100, headSize: size))
      compute.rotate(gradient.matrix, headCount: heads, angles: angles, inverse: true)
      expectGradient(gradient.table, at: x, tolerance: 1e-5) {
        inner(
          dy,
          Reference.rotate(
            $0, headCount: heads, headSize: size, positions: positions, base: 100,
            inverse: false))
      }
    }
  }
}
