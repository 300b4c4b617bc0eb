import CDots
import Glibc

/// Products on AVX-512, for one thread: of bf16 matrices on its dot products of pairs, of f32 ones on its
/// fused additions.
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
    shape.columns % 16 == 0
      && (shape.inner % 32 == 0 || shape.transposesA && !shape.transposesB)
  }

  /// Computes a product of that kind; strides are numbers from a stored row to the next, `next` what is
  /// read soon.
  func multiply(
    _ shape: ProductShape, _ a: UnsafeRawPointer, strideA: Int, _ b: UnsafeRawPointer,
    into c: UnsafeMutableRawPointer, strideC: Int, fetching next: UnsafeRawPointer? = nil
  ) {
    precondition(DotProducts.multiply(shape) && !(shape.accumulates && shape.result == .bf16))
    var product = sail_dot_product(
      a: a, b: b, c: c, rows: shape.rows, columns: shape.columns, inner: shape.inner,
      strideA: strideA, strideB: shape.transposesB ? shape.inner : shape.columns, strideC: strideC,
      transposesA: shape.transposesA ? 1 : 0, transposesB: shape.transposesB ? 1 : 0,
      accumulates: shape.accumulates ? 1 : 0, isWide: shape.precision == .f32 ? 1 : 0,
      roundsResult: shape.result == .bf16 ? 1 : 0,
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
    // Few rows and more, either layout and type, either result; of a transposed B the other kernel has
    // four columns more, which are not of this kind.
    let cases: [(rows: Int, inner: Int, transposesB: Bool, precision: Precision, result: Precision)]
    cases = [
      (3, 544, false, .bf16, .f32), (9, 1024, true, .bf16, .bf16), (3, 2144, true, .bf16, .f32),
      (9, 4096, false, .bf16, .bf16), (3, 544, true, .f32, .f32), (9, 1024, false, .f32, .f32),
      (3, 2144, false, .f32, .f32), (9, 4096, true, .f32, .f32),
    ]
    return cases.allSatisfy { rows, inner, transposesB, precision, result in
      let columns = 32
      let otherColumns = transposesB ? columns + 4 : columns
      let (a, b) = (noise(rows * inner, precision), noise(otherColumns * inner, precision))
      let own = OperandBuffer(count: rows * columns, precision: result)
      let others = OperandBuffer(count: rows * otherColumns, precision: result)
      var shape = ProductShape(
        rows: rows, columns: otherColumns, inner: inner, transposesB: transposesB,
        precision: precision, result: result)
      let expected = others.matrix(rows: rows, columns: otherColumns)
      other(
        shape, a.matrix(rows: rows, columns: inner).base,
        b.matrix(rows: otherColumns, columns: inner).base,
        expected.base)
      shape.columns = columns
      let found = own.matrix(rows: rows, columns: columns)
      multiply(
        shape, a.matrix(rows: rows, columns: inner).base, strideA: inner,
        b.matrix(rows: otherColumns, columns: inner).base, into: found.base, strideC: columns)
      return (0..<rows).allSatisfy {
        memcmp(found.row($0), expected.row($0), columns * result.byteCount) == 0
      }
    }
  }

  /// Numbers from −1 to 1 whose sums are rounded.
  private func noise(_ count: Int, _ precision: Precision) -> OperandBuffer {
    var state: UInt32 = 1
    let floats = (0..<count).map { _ -> Float in
      state = state &* 1_664_525 &+ 1_013_904_223
      return Float(Int32(bitPattern: state)) * 0x1p-31
    }
    let buffer = OperandBuffer(count: count, precision: precision)
    storeRounded(
      floats, to: buffer.matrix(rows: 1, columns: count).base, precision, count: count)
    return buffer
  }
}
