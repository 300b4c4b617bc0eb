import Tensor
import Testing

private let cases: [(heads: Int, size: Int, positions: [Int32])] = [
  (1, 2, [0]), (3, 4, [0, 1, 2, 3, 2, 3]), (2, 6, [5, 0, 31]), (1, 64, (0..<65).map { $0 }),
  (6, 16, (0..<17).map { 4 * $0 }), (2, 10, []),
]

@Suite struct RotaryTests {
  /// Bits of torch's `1.0 / (base ** (torch.arange(0, channels, 2).float() / channels))`: 2i/channels is not
  /// exact in 32 bits, and the error counts at far positions.
  @Test func frequenciesAreThoseOfTorch() {
    let cases: [(base: Double, channels: Int, bits: [UInt32])] = [
      (10000, 12, [0x3f80_0000, 0x3e5c_9d35, 0x3d3e_1e95, 0x3c23_d70a, 0x3b0d_3169, 0x39f3_5a5c]),
      (
        500000, 20,
        [
          0x3f80_0000, 0x3e89_d6da, 0x3d94_6f53, 0x3c9f_d84e, 0x3bac_21d3, 0x3ab9_5d21,
          0x39c7_9cce, 0x38d6_f4ea, 0x37e7_7aee, 0x36f9_4626,
        ]
      ),
    ]
    for (base, channels, bits) in cases {
      let found = RotaryEmbedding.frequencies(base: base, channels: channels)
      #expect(found.map(\.bitPattern) == bits)
    }
  }

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
