import CDots

/// Products of bf16 matrices on AVX-512's dot products of pairs, for one thread.
///
/// Of our own, since oneDNN 2.6 packs weights before it multiplies, which for a few rows takes most of the
/// time; the order of sums is that of oneDNN's `brg` kernels (docs/decisions/0006-dots.md has the figures).
final class DotProducts {
  private let scratch = Scratch()

  /// Nil where the CPU has no such instructions.
  init?() {
    guard sail_cpu_has_bf16_dots() != 0 else { return nil }
  }

  /// Whether a product is of the kind that these kernels do.
  static func multiply(_ shape: ProductShape) -> Bool {
    shape.precision == .bf16 && !shape.transposesA && !shape.accumulates
      && shape.columns % 16 == 0 && shape.inner % 32 == 0
  }

  /// Computes a product of that kind; strides are numbers from a stored row to the next, `next` what is
  /// read soon.
  func multiply(
    _ shape: ProductShape, _ a: UnsafeRawPointer, strideA: Int, _ b: UnsafeRawPointer,
    into c: UnsafeMutableRawPointer, strideC: Int, fetching next: UnsafeRawPointer? = nil
  ) {
    precondition(DotProducts.multiply(shape))
    var product = sail_dot_product(
      a: a.assumingMemoryBound(to: UInt16.self), b: b.assumingMemoryBound(to: UInt16.self), c: c,
      rows: shape.rows, columns: shape.columns, inner: shape.inner,
      strideA: strideA, strideB: shape.transposesB ? shape.inner : shape.columns, strideC: strideC,
      transposesB: shape.transposesB ? 1 : 0, roundsResult: shape.result == .bf16 ? 1 : 0,
      ahead: next)
    let bytes = sail_dots_scratch(&product)
    sail_dots_multiply(&product, scratch.floats(bytes / MemoryLayout<Float>.stride))
  }

  /// Whether products have the bits of another kernel's, to which those of other kinds go.
  ///
  /// Sums are cut at a depth of 512 up to 1024, else at 1024, as oneDNN 2.6 does; another version might not.
  func agree(
    with other: (ProductShape, UnsafeRawPointer, UnsafeRawPointer, UnsafeMutableRawPointer) -> Void
  ) -> Bool {
    let (rows, columns) = (3, 32)
    for inner in [544, 1024, 2144] {
      let a = OperandBuffer(count: rows * inner, precision: .bf16)
      let b = OperandBuffer(count: columns * inner, precision: .bf16)
      fillWithNoise(a)
      fillWithNoise(b)
      for transposesB in [false, true] {
        let shape = ProductShape(
          rows: rows, columns: columns, inner: inner, transposesB: transposesB, precision: .bf16)
        let (own, others) = (
          FloatBuffer(count: rows * columns), FloatBuffer(count: rows * columns)
        )
        let (a, b) = (
          a.matrix(rows: rows, columns: inner).base, b.matrix(rows: columns, columns: inner).base
        )
        multiply(shape, a, strideA: inner, b, into: own.base, strideC: columns)
        other(shape, a, b, others.base)
        let isEqual = (0..<rows * columns).allSatisfy {
          own.base[$0].bitPattern == others.base[$0].bitPattern
        }
        if !isEqual { return false }
      }
    }
    return true
  }

  /// Numbers from −1 to 1 whose sums are rounded.
  private func fillWithNoise(_ buffer: OperandBuffer) {
    var state: UInt32 = 1
    let floats = (0..<buffer.count).map { _ -> Float in
      state = state &* 1_664_525 &+ 1_013_904_223
      return Float(Int32(bitPattern: state)) * 0x1p-31
    }
    let target = buffer.matrix(rows: 1, columns: buffer.count).base
    roundToBF16(
      floats, to: target.assumingMemoryBound(to: UInt16.self), count: buffer.count)
  }
}
