import Glibc
import Testing

@testable import Tensor

@Suite(.enabled(if: TileProducts.areAvailable, "this CPU has no AMX"))
struct TileProductTests {
  /// Numbers of bf16 in about ±1, keyed by place.
  private static func operand(_ count: Int, seed: UInt64) -> [UInt16] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let value = Float(Int32(truncatingIfNeeded: state >> 32)) / 0x1p31
      return UInt16(value.bitPattern >> 16)
    }
  }

  private static func multiply(
    _ shape: ProductShape, _ a: [UInt16], _ b: [UInt16], into start: [Float]? = nil
  ) throws -> [Float] {
    let tiles = try #require(TileProducts())
    var c = start ?? [Float](repeating: .nan, count: shape.rows * shape.columns)
    c.withUnsafeMutableBytes { buffer in
      a.withUnsafeBytes { a in
        b.withUnsafeBytes { b in
          guard let a = a.baseAddress, let b = b.baseAddress, let c = buffer.baseAddress else {
            return
          }
          tiles.multiply(
            shape, a, strideA: shape.transposesA ? shape.rows : shape.inner, b, into: c,
            strideC: shape.columns)
        }
      }
    }
    return c
  }

  private static func number(_ bits: UInt16) -> Double {
    Double(Float(bitPattern: UInt32(bits) << 16))
  }

  /// The sum and the sum of magnitudes of one element.
  private static func reference(
    _ s: ProductShape, _ a: [UInt16], _ b: [UInt16], _ row: Int, _ column: Int
  ) -> (sum: Double, size: Double) {
    (0..<s.inner).reduce(into: (0, 0)) { result, k in
      let x = number(a[s.transposesA ? k * s.rows + row : row * s.inner + k])
      let y = number(b[s.transposesB ? column * s.inner + k : k * s.columns + column])
      result.0 += x * y
      result.1 += abs(x * y)
    }
  }

  private static let sizes = [
    (1, 1, 1), (3, 5, 7), (16, 16, 32), (17, 33, 31), (31, 47, 65), (100, 48, 1025),
    (33, 530, 2049), (1, 704, 256), (5, 65, 4500), (70, 40, 9000),
  ]

  @Test(arguments: sizes, [(false, true), (false, false), (true, false), (true, true)])
  func everyElementIsItsSum(
    _ size: (rows: Int, columns: Int, inner: Int), _ transposes: (a: Bool, b: Bool)
  ) throws {
    let shape = ProductShape(
      rows: size.rows, columns: size.columns, inner: size.inner, transposesA: transposes.a,
      transposesB: transposes.b, precision: .bf16)
    let a = Self.operand(size.rows * size.inner, seed: 1)
    let b = Self.operand(size.inner * size.columns, seed: 2)
    let c = try Self.multiply(shape, a, b)
    for row in 0..<size.rows {
      for column in 0..<size.columns {
        let (sum, magnitude) = Self.reference(shape, a, b, row, column)
        let found = Double(c[row * size.columns + column])
        #expect(abs(found - sum) <= 1e-6 * magnitude + 1e-12, "\(row) \(column)")
      }
    }
  }

  /// A row alone has the bits that it has among others, and so has a column.
  @Test(arguments: [(false, true), (false, false)])
  func rowsDoNotDependOnTheirNeighbours(_ transposes: (a: Bool, b: Bool)) throws {
    let (rows, columns, inner) = (75, 520, 1100)
    func shape(_ rows: Int) -> ProductShape {
      ProductShape(
        rows: rows, columns: columns, inner: inner, transposesB: transposes.b, precision: .bf16)
    }
    let a = Self.operand(rows * inner, seed: 3)
    let b = Self.operand(inner * columns, seed: 4)
    let all = try Self.multiply(shape(rows), a, b)
    for (first, count) in [(0, 1), (16, 1), (33, 2), (40, 35)] {
      let part = try Self.multiply(
        shape(count), Array(a[first * inner..<(first + count) * inner]), b)
      let expected = all[first * columns..<(first + count) * columns]
      #expect(part.map(\.bitPattern) == expected.map(\.bitPattern), "\(first)")
    }
  }

  /// Large results are written past the caches, and the right operand comes in several parts.
  @Test(
    arguments: [(640, 1056, 1024), (520, 1104, 5000), (1040, 640, 96)],
    [(false, true), (false, false), (true, false)])
  func largeProductsAreThoseOfTheirParts(
    _ size: (rows: Int, columns: Int, inner: Int), _ transposes: (a: Bool, b: Bool)
  ) throws {
    let (rows, columns, inner) = size
    var shape = ProductShape(
      rows: rows, columns: columns, inner: inner, transposesA: transposes.a,
      transposesB: transposes.b, precision: .bf16)
    let a = Self.operand(rows * inner, seed: 9)
    let b = Self.operand(inner * columns, seed: 10)
    let tiles = try #require(TileProducts())
    let (whole, rounded, part) = (
      FloatBuffer(count: rows * columns), FloatBuffer(count: rows * columns / 2),
      FloatBuffer(count: 48 * columns)
    )
    let strideA = transposes.a ? rows : inner
    try a.withUnsafeBufferPointer { a in
      try b.withUnsafeBufferPointer { b in
        let (a, b) = (try #require(a.baseAddress), try #require(b.baseAddress))
        tiles.multiply(shape, a, strideA: strideA, b, into: whole.base, strideC: columns)
        shape.result = .bf16
        tiles.multiply(shape, a, strideA: strideA, b, into: rounded.base, strideC: columns)
        shape.result = .f32
        for first in stride(from: 0, to: rows, by: 48) {
          shape.rows = min(48, rows - first)
          tiles.multiply(
            shape, a + (transposes.a ? first : first * inner), strideA: strideA, b,
            into: part.base, strideC: columns)
          let bytes = shape.rows * columns * MemoryLayout<Float>.stride
          #expect(memcmp(part.base, whole.base + first * columns, bytes) == 0, "\(first)")
        }
      }
    }
    var expected = [UInt16](repeating: 0, count: rows * columns)
    roundToBF16(whole.base, to: &expected, count: expected.count)
    #expect(memcmp(rounded.base, expected, 2 * expected.count) == 0)
  }

  /// A part of a wider A; a C that is part of a wider matrix, whose other columns stay.
  @Test(arguments: [(40, 33, 64), (33, 64, 40), (64, 96, 128)])
  func stridesSelectParts(_ size: (rows: Int, columns: Int, inner: Int)) throws {
    let (rows, columns, inner) = size
    let tiles = try #require(TileProducts())
    for transposesA in [false, true] {
      let shape = ProductShape(
        rows: rows, columns: columns, inner: inner, transposesA: transposesA, precision: .bf16)
      let (lines, width) = transposesA ? (inner, rows) : (rows, inner)
      let a = Self.operand(lines * width, seed: 11)
      let b = Self.operand(inner * columns, seed: 12)
      let expected = try Self.multiply(shape, a, b)
      var wide = [UInt16](repeating: 0x7FC0, count: lines * (width + 5))
      for line in 0..<lines {
        for index in 0..<width { wide[line * (width + 5) + index] = a[line * width + index] }
      }
      var c = [Float](repeating: 7, count: rows * (columns + 3))
      c.withUnsafeMutableBufferPointer { c in
        guard let c = c.baseAddress else { return }
        tiles.multiply(shape, wide, strideA: width + 5, b, into: c, strideC: columns + 3)
      }
      for row in 0..<rows {
        let line = c[row * (columns + 3)..<(row + 1) * (columns + 3)]
        #expect(Array(line.prefix(columns)) == Array(expected[row * columns..<(row + 1) * columns]))
        #expect(line.suffix(3).allSatisfy { $0 == 7 })
      }
    }
  }

  /// C += product is the product, then one addition; a bf16 result is the sum rounded once.
  @Test(arguments: [(40, 30, 70), (33, 64, 1500)])
  func addedAndRounded(_ size: (rows: Int, columns: Int, inner: Int)) throws {
    var shape = ProductShape(
      rows: size.rows, columns: size.columns, inner: size.inner, transposesA: true,
      precision: .bf16)
    let a = Self.operand(size.rows * size.inner, seed: 5)
    let b = Self.operand(size.inner * size.columns, seed: 6)
    let product = try Self.multiply(shape, a, b)
    let start = (0..<product.count).map { Float($0 % 17) / 3 }
    shape.accumulates = true
    let sum = try Self.multiply(shape, a, b, into: start)
    #expect(sum.map(\.bitPattern) == zip(start, product).map { ($0 + $1).bitPattern })

    shape.accumulates = false
    shape.result = .bf16
    let rounded = try Self.multiply(shape, a, b)
    let found = rounded.withUnsafeBytes {
      Array($0.bindMemory(to: UInt16.self).prefix(product.count))
    }
    var expected = [UInt16](repeating: 0, count: product.count)
    roundToBF16(product, to: &expected, count: product.count)
    #expect(found == expected)
  }

  @Test func numbersThatAreNoneStay() throws {
    let shape = ProductShape(rows: 1, columns: 2, inner: 32, transposesB: true, precision: .bf16)
    var a = Self.operand(32, seed: 7)
    a[5] = 0x7FC0
    let c = try Self.multiply(shape, a, Self.operand(64, seed: 8))
    #expect(c.allSatisfy { $0.isNaN })
  }
}
