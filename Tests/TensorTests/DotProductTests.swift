import Glibc
import Testing

@testable import Tensor

@Suite(.enabled(if: DotProducts() != nil, "this CPU has no AVX-512 for bf16"))
struct DotProductTests {
  /// Memory that ends where a page begins that cannot be read.
  private final class Fenced {
    let base: UnsafeMutableRawPointer
    private let start: UnsafeMutableRawPointer
    private let byteCount: Int

    init(bytes: Int) throws {
      let page = Int(sysconf(Int32(_SC_PAGESIZE)))
      byteCount = (bytes + page - 1) / page * page + page
      let memory = mmap(
        nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      start = try #require(memory != MAP_FAILED ? memory : nil)
      try #require(mprotect(start + byteCount - page, page, PROT_NONE) == 0)
      base = start + byteCount - page - bytes
    }

    deinit { munmap(start, byteCount) }
  }

  /// Numbers in about ±1, keyed by place.
  private static func operand(_ count: Int, seed: UInt64, _ precision: Precision) throws -> Fenced {
    let memory = try Fenced(bytes: precision.byteCount * count)
    var state = seed
    let numbers = (0..<count).map { _ -> Float in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(Int32(truncatingIfNeeded: state >> 32)) / 0x1p31
    }
    storeRounded(numbers, to: memory.base, precision, count: count)
    return memory
  }

  /// Numbers of operands.
  private static func floats(_ memory: Fenced, count: Int, _ precision: Precision) -> [Float] {
    [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let base = buffer.baseAddress {
        loadWidened(memory.base, precision, into: base, count: count)
      }
      initialized = count
    }
  }

  private static let sizes = [
    (1, 16, 32), (1, 64, 64), (2, 80, 96), (3, 128, 544), (4, 48, 1024), (5, 64, 2144), (7, 16, 32),
    (8, 96, 1056), (9, 16, 32), (9, 48, 64), (15, 80, 96), (17, 32, 544), (24, 112, 1024),
    (33, 64, 1120), (40, 48, 2048), (70, 272, 2144),
    // A in parts: of f32, of bf16, of either stored (K, M), of f32 again.
    (300, 48, 512), (300, 48, 1024), (300, 48, 2144), (650, 48, 2144),
  ]

  private static let kinds: [(precision: Precision, transposesB: Bool)] = [
    (.f32, false), (.f32, true), (.bf16, false), (.bf16, true),
  ]

  /// Every element is its sum, and in every bit what oneDNN computes: products of other kinds go there.
  @Test(arguments: sizes, kinds)
  func elementsAreThoseOfOneDNN(
    _ size: (rows: Int, columns: Int, inner: Int), _ kind: (precision: Precision, transposesB: Bool)
  ) throws {
    let (rows, columns, inner) = size
    let (precision, transposesB) = kind
    var shape = ProductShape(
      rows: rows, columns: columns, inner: inner, transposesB: transposesB, precision: precision)
    try #require(DotProducts.multiply(shape))
    let a = try Self.operand(rows * inner, seed: 1, precision)
    let b = try Self.operand(inner * columns, seed: 2, precision)
    let c = try Fenced(bytes: 4 * rows * columns)
    let dots = try #require(DotProducts())
    dots.multiply(shape, a.base, strideA: inner, b.base, into: c.base, strideC: columns)

    let found = c.base.assumingMemoryBound(to: Float.self)
    let left = Self.floats(a, count: rows * inner, precision)
    let right = Self.floats(b, count: inner * columns, precision)
    for row in stride(from: 0, to: rows, by: max(1, rows / 9)) {
      for column in 0..<columns {
        let terms = (0..<inner).map {
          Double(left[row * inner + $0])
            * Double(right[transposesB ? column * inner + $0 : $0 * columns + column])
        }
        let size = terms.reduce(0) { $0 + abs($1) }
        let error = abs(Double(found[row * columns + column]) - terms.reduce(0, +))
        #expect(error <= 1e-6 * size, "\(row) \(column)")
      }
    }

    let library = ProductEngine(usesOneDNN: true, usesOwnKernels: false)
    if precision == .f32 || library.multipliesBF16 {
      let expected = FloatBuffer(count: rows * columns)
      library.multiply(shape, a.base, b.base, into: expected.base)
      #expect(memcmp(expected.base, found, 4 * rows * columns) == 0)
    }

    var rounded = [UInt16](repeating: 0, count: rows * columns)
    roundToBF16(found, to: &rounded, count: rounded.count)
    shape.result = .bf16
    let short = try Fenced(bytes: 2 * rows * columns)
    dots.multiply(shape, a.base, strideA: inner, b.base, into: short.base, strideC: columns)
    #expect(memcmp(short.base, rounded, 2 * rounded.count) == 0)
  }

  /// A row alone has the bits that it has among others; a wider A, a C whose other columns stay.
  @Test(arguments: kinds, [1024, 2048, 1120, 65536])
  func partsAreThoseOfTheWhole(
    _ kind: (precision: Precision, transposesB: Bool), inner: Int
  ) throws {
    let (rows, columns, extra) = (45, 96, 7)
    let precision = kind.precision
    var shape = ProductShape(
      rows: rows, columns: columns, inner: inner, transposesB: kind.transposesB,
      precision: precision)
    let (widthA, widthC) = (inner + extra, columns + extra)
    let a = try Self.operand(rows * widthA, seed: 3, precision)
    let b = try Self.operand(inner * columns, seed: 4, precision)
    let whole = FloatBuffer(count: rows * widthC)
    for index in 0..<whole.count { whole.base[index] = 0.5 }
    let dots = try #require(DotProducts())
    dots.multiply(shape, a.base, strideA: widthA, b.base, into: whole.base, strideC: widthC)
    for (first, count) in [(0, 1), (3, 2), (11, 8), (20, 9), (30, 15)] {
      shape.rows = count
      let part = FloatBuffer(count: count * columns)
      dots.multiply(
        shape, a.base + precision.byteCount * first * widthA, strideA: widthA, b.base,
        into: part.base,
        strideC: columns, fetching: b.base)
      for row in 0..<count {
        let line = whole.base + (first + row) * widthC
        #expect(memcmp(part.base + row * columns, line, 4 * columns) == 0, "\(first) \(row)")
      }
    }
    for row in 0..<rows {
      #expect((columns..<widthC).allSatisfy { whole.base[row * widthC + $0] == 0.5 })
    }
  }

  /// A stored (K, M), with other columns beside it, gives the bits of A stored (M, K).
  ///
  /// In the last size more parts than A has lines of rows.
  @Test(arguments: sizes + [(45, 16, 65536)], kinds)
  func transposedLeftOperands(
    _ size: (rows: Int, columns: Int, inner: Int), _ kind: (precision: Precision, transposesB: Bool)
  ) throws {
    let (rows, columns, inner) = size
    let (precision, transposesB) = kind
    let (width, first) = (rows + 5, 3)
    let a = try Self.operand(rows * inner, seed: 5, precision)
    let b = try Self.operand(inner * columns, seed: 6, precision)
    // The last stored row ends with the matrix, at the page that cannot be read.
    let bytes = precision.byteCount
    let turned = try Fenced(bytes: bytes * (inner * width - width + first + rows))
    let plain = Self.floats(a, count: rows * inner, precision)
    for k in 0..<inner {
      let column = (0..<rows).map { plain[$0 * inner + k] }
      storeRounded(
        column, to: turned.base + bytes * (k * width + first), precision, count: rows)
    }
    var shape = ProductShape(
      rows: rows, columns: columns, inner: inner, transposesB: transposesB, precision: precision)
    let dots = try #require(DotProducts())
    let expected = FloatBuffer(count: rows * columns)
    dots.multiply(
      shape, a.base, strideA: inner, b.base, into: expected.base, strideC: columns)
    shape.transposesA = true
    let found = try Fenced(bytes: 4 * rows * columns)
    dots.multiply(
      shape, turned.base + bytes * first, strideA: width, b.base, into: found.base, strideC: columns
    )
    #expect(memcmp(expected.base, found.base, 4 * rows * columns) == 0)
  }

  /// A stored (K, M) and B (K, N) may have any K; nothing behind them is read, and the bits are those
  /// with zero rows to a multiple of 32.
  @Test(arguments: [1, 2, 31, 33, 135, 500, 513, 1023, 1025, 1580], Precision.allCases)
  func sumsOfAnyLength(inner: Int, _ precision: Precision) throws {
    let dots = try #require(DotProducts())
    for (rows, columns) in [(5, 48), (40, 16), (135, 32)] {
      let padded = (inner + 31) / 32 * 32
      let a = try Self.operand(inner * rows, seed: 9, precision)
      let b = try Self.operand(inner * columns, seed: 10, precision)
      let (longA, longB) = (
        OperandBuffer(count: padded * rows, precision: precision),
        OperandBuffer(count: padded * columns, precision: precision)
      )
      let bytes = precision.byteCount
      let (zeroedA, zeroedB) = (
        longA.matrix(rows: padded, columns: rows), longB.matrix(rows: padded, columns: columns)
      )
      memcpy(zeroedA.base, a.base, bytes * inner * rows)
      memcpy(zeroedB.base, b.base, bytes * inner * columns)
      var shape = ProductShape(
        rows: rows, columns: columns, inner: inner, transposesA: true, precision: precision)
      try #require(DotProducts.multiply(shape))
      let found = FloatBuffer(count: rows * columns)
      dots.multiply(
        shape, a.base, strideA: rows, b.base, into: found.base, strideC: columns)
      shape.inner = padded
      let expected = FloatBuffer(count: rows * columns)
      dots.multiply(
        shape, zeroedA.base, strideA: rows, zeroedB.base, into: expected.base, strideC: columns)
      #expect(memcmp(found.base, expected.base, 4 * rows * columns) == 0, "\(rows)")
    }
  }

  /// What is added to an element is its whole product, at once.
  @Test(arguments: [1, 8, 19, 64, 300], kinds)
  func additions(rows: Int, _ kind: (precision: Precision, transposesB: Bool)) throws {
    let dots = try #require(DotProducts())
    let (precision, transposesA) = kind
    for inner in [64, 1024, 2144] {
      let (columns, width) = (48, 48 + 9)
      let a = try Self.operand(rows * inner, seed: 7, precision)
      let b = try Self.operand(inner * columns, seed: 8, precision)
      var shape = ProductShape(
        rows: rows, columns: columns, inner: inner, transposesA: transposesA, precision: precision)
      let strideA = transposesA ? rows : inner
      let product = FloatBuffer(count: rows * columns)
      dots.multiply(
        shape, a.base, strideA: strideA, b.base, into: product.base, strideC: columns)
      let sum = FloatBuffer(count: rows * width)
      for index in 0..<sum.count { sum.base[index] = 3 / Float(index + 1) }
      shape.accumulates = true
      dots.multiply(shape, a.base, strideA: strideA, b.base, into: sum.base, strideC: width)
      let expected = (0..<sum.count).map { index in
        let (row, column) = index.quotientAndRemainder(dividingBy: width)
        let added = column < columns ? product.base[row * columns + column] : 0
        return 3 / Float(index + 1) + added
      }
      expectEqual((0..<sum.count).map { sum.base[$0] }, expected, "\(inner)")
    }
  }

  /// No rows need no scratch and leave everything as it is.
  @Test(arguments: [false, true]) func noRows(transposesA: Bool) throws {
    let dots = try #require(DotProducts())
    let c = FloatBuffer(count: 16)
    let b = try Self.operand(32 * 16, seed: 9, .bf16)
    var shape = ProductShape(rows: 0, columns: 16, inner: 32, precision: .bf16)
    shape.transposesA = transposesA
    dots.multiply(shape, b.base, strideA: 32, b.base, into: c.base, strideC: 16)
    #expect((0..<16).allSatisfy { c.base[$0] == 0 })
  }

  /// Where oneDNN multiplies bf16 with the same instructions, these kernels agree with it and are used.
  @Test func theyAreUsed() {
    let library = ProductEngine(usesOneDNN: true, usesOwnKernels: false)
    #expect(library.ownKernels == nil)
    guard library.multipliesBF16, TileProducts() == nil else { return }
    let engine = ProductEngine(usesOneDNN: true)
    #expect(engine.ownKernels == "f32 and bf16 on AVX-512")
    #expect(engine.hasAnyShape(size: 64) && !engine.hasAnyShape(size: 80))
  }

  /// Kernels with another order of sums are told from these.
  @Test(arguments: Precision.allCases) func anotherOrderIsSeen(_ precision: Precision) throws {
    let dots = try #require(DotProducts())
    let library = ProductEngine(usesOneDNN: true, usesOwnKernels: false)
    #expect(
      !dots.agree { shape, a, b, c in
        library.multiply(shape, a, b, into: c)
        if shape.precision != precision || shape.result != .f32 { return }
        let last = c.assumingMemoryBound(to: Float.self) + shape.rows * shape.columns - 1
        last.pointee = last.pointee.nextUp
      })
  }

  @Test func otherKindsAreNotTheirs() {
    let shape = ProductShape(rows: 8, columns: 32, inner: 64)
    #expect(DotProducts.multiply(shape))
    for change: (inout ProductShape) -> Void in [
      { $0.columns = 40 }, { $0.inner = 48 }, { ($0.inner, $0.transposesB) = (48, true) },
    ] {
      for transposesA in [false, true] {
        var other = shape
        other.transposesA = transposesA
        change(&other)
        let sumsAnyRows = transposesA && !other.transposesB && other.columns == 32
        #expect(DotProducts.multiply(other) == sumsAnyRows)
      }
    }
  }
}
