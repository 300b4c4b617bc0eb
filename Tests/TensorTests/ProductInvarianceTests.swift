import Testing

@testable import Tensor

// A row of a product must not depend on its neighbours, nor on the library's choice of a kernel by
// shape: thread counts, batches and decoding agree in every bit only as long as this holds.

@Suite(.enabled(if: hasInvariantKernels, "oneDNN has no brg kernels on this CPU"))
struct ProductInvarianceTests {
  /// Every linear layer, input and weight gradient of decoders this wide, for up to 64 rows.
  @Test(arguments: [8, 16, 32, 48, 128, 1024], Precision.allCases)
  func layersHaveInvariantKernels(width: Int, precision: Precision) {
    var shapes: [ProductShape] = []
    for other in [width, width * 3 / 2, width * 11 / 4, 37] {
      for rows in 1...64 {
        shapes += [
          ProductShape(rows: rows, columns: other, inner: width, transposesB: true),
          ProductShape(rows: rows, columns: width, inner: other, transposesB: true),
          ProductShape(rows: rows, columns: other, inner: width),
          ProductShape(rows: rows, columns: width, inner: other),
        ]
      }
      shapes.append(ProductShape(rows: 8, columns: width, inner: other, accumulates: true))
      for inner in [32, 64, 4096] {
        for rows in [1, 5, 16, 24, 48, other] {
          for accumulates in [false, true] {
            shapes.append(
              ProductShape(
                rows: rows, columns: width, inner: inner, transposesA: true,
                accumulates: accumulates))
          }
        }
      }
    }
    expectInvariant(shapes, precision)
  }

  /// The three products of attention, for up to 512 keys in tiles of 32 and 64, and those of a new
  /// token with one to eight query heads a key/value head.
  @Test(arguments: [4, 8, 16, 32, 64, 128], Precision.allCases)
  func attentionHasInvariantKernels(headSize: Int, precision: Precision) {
    var shapes: [ProductShape] = []
    for tile in [32, 64] {
      for keys in stride(from: tile, through: 512, by: tile) {
        for rows in [tile] + (tile == CachedKeys.multiple ? Array(1...8) : []) {
          shapes += [
            ProductShape(rows: rows, columns: keys, inner: headSize, transposesB: true),
            ProductShape(rows: rows, columns: headSize, inner: keys),
          ]
        }
        shapes.append(
          ProductShape(
            rows: keys, columns: headSize, inner: tile, transposesA: true, accumulates: true))
      }
    }
    expectInvariant(shapes, precision, results: [.f32])
  }

  /// Slices of a vocabulary, whole and the last one's rest.
  @Test(arguments: [8, 64, 1024], Precision.allCases)
  func headsHaveInvariantKernels(width: Int, precision: Precision) {
    var shapes: [ProductShape] = []
    for tokens in [VocabularySlices.width, 37, 1] {
      for rows in [1, 2, 7, 32, 64, 256] {
        shapes += [
          ProductShape(rows: rows, columns: tokens, inner: width, transposesB: true),
          ProductShape(rows: rows, columns: width, inner: tokens),
          ProductShape(rows: rows, columns: width, inner: tokens, accumulates: true),
        ]
      }
      for rows in [32, 288] {
        for accumulates in [false, true] {
          shapes.append(
            ProductShape(
              rows: tokens, columns: width, inner: rows, transposesA: true,
              accumulates: accumulates))
        }
      }
    }
    expectInvariant(shapes, precision, results: [.f32])
  }

  private func expectInvariant(
    _ shapes: [ProductShape], _ precision: Precision, results: [Precision] = Precision.allCases,
    location: SourceLocation = #_sourceLocation
  ) {
    for usesOwnKernels in [true, false] {
      let engine = ProductEngine(usesOneDNN: true, usesOwnKernels: usesOwnKernels)
      expectInvariant(engine, shapes, precision, results: results, location: location)
    }
  }

  private func expectInvariant(
    _ engine: ProductEngine, _ shapes: [ProductShape], _ precision: Precision,
    results: [Precision], location: SourceLocation
  ) {
    var others: [ProductShape] = []
    for result in results where result == .f32 || precision == .bf16 {
      for shape in shapes where result == .f32 || !shape.accumulates {
        var shape = shape
        shape.precision = precision
        shape.result = result
        if !engine.isRowInvariant(shape) { others.append(shape) }
      }
    }
    #expect(
      others.isEmpty, "\(others.count) of \(shapes.count), such as \(others.prefix(40))",
      sourceLocation: location)
  }

  @Test func otherLibraryIsNotTakenForInvariant() {
    let shape = ProductShape(rows: 8, columns: 8, inner: 8)
    #expect(!ProductEngine(usesOneDNN: false).isRowInvariant(shape))
    #expect(Compute(threadCount: 1, usesOneDNN: false).kernelName.hasPrefix("OpenBLAS"))
  }

  /// Rows of a linear layer alone, in small batches and in a large one, at inner × outer sizes from
  /// tiny decoders to the 0.5B.
  @Test(
    arguments: [
      [16, 16], [16, 48], [8, 37], [37, 8], [64, 1], [1, 64], [48, 130], [128, 384], [896, 896],
      [1024, 1024], [1024, 2816], [2816, 1024],
    ], Precision.allCases)
  func rowsDoNotDependOnTheirNeighbours(size: [Int], precision: Precision) {
    let (inner, outer) = (size[0], size[1])
    let compute = Compute(threadCount: 1)
    let batch = 70
    let x = Operand(Table(rows: batch, columns: inner, seed: 21), precision)
    let w = Operand(Table(rows: outer, columns: inner, seed: 22), precision)
    let isLarge = inner * outer > 500_000
    for result in Precision.allCases {
      let all = Operand(rows: batch, columns: outer, result)
      compute.linear(x.operand, w.operand, into: all.operand)
      let expected = all.bits
      for rows in 1...batch where !isLarge || rows <= 20 || rows % 7 == 0 {
        // The last `rows` rows, so that a row also changes its place.
        let first = batch - rows
        let part = Operand(rows: rows, columns: outer, result)
        compute.linear(x.operand.rows(first..<batch), w.operand, into: part.operand)
        expectEqual(part.bits, Array(expected[(first * outer)...]), "\(rows) rows, \(result)")
      }
    }
  }

  @Test(arguments: [[16, 48], [48, 37], [128, 384], [1024, 1024]], Precision.allCases)
  func gradientRowsDoNotDependOnTheirNeighbours(size: [Int], precision: Precision) {
    let (inner, outer) = (size[0], size[1])
    let compute = Compute(threadCount: 1)
    let dy = Operand(Table(rows: 65, columns: outer, seed: 23), precision)
    let w = Operand(Table(rows: outer, columns: inner, seed: 24), precision)
    let all = Operand(rows: 65, columns: inner)
    compute.linearInputGradient(dy.operand, w.operand, into: all.operand)
    let expected = all.bits
    for rows in [1, 2, 15, 16, 17, 31, 33, 64] {
      let part = Operand(rows: rows, columns: inner)
      compute.linearInputGradient(dy.operand.rows(65 - rows..<65), w.operand, into: part.operand)
      expectEqual(part.bits, Array(expected[((65 - rows) * inner)...]), "\(rows) rows")
    }
  }

  /// Slices of the weights' rows give slices of the outputs: few rows are cut that way.
  @Test(arguments: Precision.allCases)
  func columnsDoNotDependOnTheirNeighbours(_ precision: Precision) {
    let engine = ProductEngine(usesOneDNN: true)
    for (rows, inner, outer) in [(1, 16, 256), (5, 64, 320), (31, 1024, 1024), (3, 48, 37)] {
      let x = Operand(Table(rows: rows, columns: inner, seed: 25), precision)
      let w = Operand(Table(rows: outer, columns: inner, seed: 26), precision)
      let all = Operand(rows: rows, columns: outer)
      engine.multiply(
        ProductShape(
          rows: rows, columns: outer, inner: inner, transposesB: true, precision: precision),
        x.operand.base, w.operand.base, into: all.base)
      for width in [1, 16, 64, 192] where width < outer {
        let part = Operand(rows: rows, columns: width)
        engine.multiply(
          ProductShape(
            rows: rows, columns: width, inner: inner, transposesB: true, precision: precision),
          x.operand.base, w.operand.row(outer - width), into: part.base)
        for row in 0..<rows {
          let place = row * outer + outer - width
          expectEqual(
            Array(part.bits[row * width..<(row + 1) * width]),
            Array(all.bits[place..<place + width]), "\(rows), \(width) of \(outer)")
        }
      }
    }
  }
}
