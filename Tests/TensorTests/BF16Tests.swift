import Testing

@testable import Tensor

@Suite struct BF16Tests {
  private func rounded(_ bits: [UInt32]) -> [UInt16] {
    let floats = bits.map { Float(bitPattern: $0) }
    var result = [UInt16](repeating: 0x1234, count: bits.count + 1)
    roundToBF16(floats, to: &result, count: bits.count)
    #expect(result.last == 0x1234, "wrote behind the end")
    return Array(result.dropLast())
  }

  /// Every upper half, with lower halves around a tie and at both ends: numbers of all sizes and both
  /// signs, denormals, infinities and NaNs.
  @Test func roundingIsToNearestTiesToEven() {
    let lower: [UInt32] = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    var differences = 0
    for upper in UInt32(0)...0xFFFF {
      let bits = lower.map { upper << 16 | $0 }
      for (found, bits) in zip(rounded(bits), bits)
      where found != nearestBF16(Float(bitPattern: bits)) { differences += 1 }
    }
    #expect(differences == 0)
  }

  @Test func knownValues() {
    for (value, expected) in [
      (1, 0x3F80), (-1, 0xBF80), (0, 0), (-0.0, 0x8000), (0x1.01p0, 0x3F80), (0x1.03p0, 0x3F82),
      (0x1.010002p0, 0x3F81), (-0x1.03p0, 0xBF82), (.infinity, 0x7F80), (-.infinity, 0xFF80),
      // The largest bf16, half-way to 2¹²⁸, the largest float.
      (0x1.FEp127, 0x7F7F), (0x1.FEFFFEp127, 0x7F7F), (0x1.FFp127, 0x7F80),
      (.greatestFiniteMagnitude, 0x7F80),
      // Denormals: the smallest bf16, half of it (a tie with 0), the next float above that.
      (0x1p-133, 0x0001), (0x1p-134, 0x0000), (Float(0x1p-134).nextUp, 0x0001),
      (0x1.8p-133, 0x0002), (.leastNonzeroMagnitude, 0x0000),
    ] as [(Float, UInt16)] {
      #expect(rounded([value.bitPattern]) == [expected], "\(value)")
    }
  }

  /// Whatever its payload, a NaN does not become an infinity or a number.
  @Test func aNaNStaysOne() {
    for payload in [1, 0x7FFF, 0x8000, 0xFFFF, 0x3F_FFFF, 0x40_0000, 0x7F_FFFF] as [UInt32] {
      for sign in [0, 0x8000_0000] as [UInt32] {
        let found = widened(rounded([sign | 0x7F80_0000 | payload])[0])
        #expect(found.isNaN && (found.sign == .minus) == (sign != 0))
      }
    }
  }

  /// All 65536 numbers come back as they were; a NaN may have become quiet.
  @Test func wideningIsExact() {
    let all = (0...0xFFFF).map { UInt16($0) }
    let target = FloatBuffer(count: all.count)
    all.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      loadWidened(base, .bf16, into: target.base, count: all.count)
    }
    let wide = (0..<all.count).map { target.base[$0] }
    expectEqual(wide.map(\.bitPattern), all.map { UInt32($0) << 16 })
    let isNumber = wide.map { !$0.isNaN }
    let back = rounded(wide.map(\.bitPattern))
    #expect(zip(zip(all, back), isNumber).allSatisfy { $0.0 == $0.1 || !$1 })
  }

  /// A matrix of any length on any number of threads; as f32 it is a copy.
  @Test(arguments: [1, 2, 3]) func matricesAreRounded(threadCount: Int) {
    let compute = Compute(threadCount: threadCount)
    for (rows, columns) in [(1, 1), (3, 7), (5, 64), (63, 65), (0, 8)] {
      let x = Operand(Table(rows: rows, columns: columns, seed: 130))
      let (half, whole) = (
        Operand(rows: rows, columns: columns, .bf16), Operand(rows: rows, columns: columns)
      )
      compute.round(x.matrix, into: half.operand)
      compute.round(x.matrix, into: whole.operand)
      expectEqual(half.floats, x.floats.map { widened(nearestBF16($0)) })
      expectEqual(whole.bits, x.bits)
      #expect(half.isGuardIntact && whole.isGuardIntact)
    }
  }

  @Test func rowsOfOperands() {
    let table = Table(rows: 5, columns: 3, seed: 131)
    for precision in Precision.allCases {
      let buffer = OperandBuffer(count: 15, precision: precision)
      let matrix = buffer.matrix(rows: 5, columns: 3)
      let source = Operand(table, precision)
      matrix.base.copyMemory(from: source.operand.base, byteCount: 15 * precision.byteCount)
      matrix.rows(1..<3).zero()
      let found = Operand(rows: 5, columns: 3)
      Compute(threadCount: 1).gatherRows(
        of: matrix, at: [4, 0, 1, 2, 3], into: found.matrix)
      let floats = source.floats
      expectEqual(
        found.floats,
        floats[12...] + floats[..<3] + [Float](repeating: 0, count: 6) + floats[9..<12])
      #expect((matrix.floats == nil) == (precision == .bf16))
    }
  }
}
