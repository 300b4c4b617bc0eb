import COpenBLAS

/// Shape of a matrix product C (M, N) = or += op(A) (M, K) · op(B) (K, N), all dense row-major.
struct ProductShape: Hashable {
  var rows: Int
  var columns: Int
  var inner: Int
  /// A is stored (K, M).
  var transposesA = false
  /// B is stored (N, K).
  var transposesB = false
  /// C += product instead of C = product; in every bit the product, then one addition.
  var accumulates = false
}

/// The matrix products of one thread.
///
/// The rule which library does a product: oneDNN where it picks a `brg` kernel, else OpenBLAS. It
/// depends on CPU and shape only, never on a timing. In `brg` a row of C does not depend on the
/// other rows (docs/decisions/0001-foundations.md); in OpenBLAS it may, so callers cut work for it
/// into parts of fixed size.
final class ProductEngine {
  #if OneDNN
    private let oneDNN: OneDNN?
    private var primitives: [ProductShape: OneDNNProduct?] = [:]
  #endif
  private var product: [Float] = []

  init(usesOneDNN: Bool) {
    #if OneDNN
      oneDNN = usesOneDNN ? OneDNN() : nil
    #endif
  }

  /// Whether products of this shape run in a kernel whose rows don't depend on each other.
  func isRowInvariant(_ shape: ProductShape) -> Bool {
    #if OneDNN
      return primitive(for: shape) != nil
    #else
      return false
    #endif
  }

  /// Computes one product; every matrix dense with the shape's dimensions.
  func multiply(
    _ shape: ProductShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    into c: UnsafeMutablePointer<Float>
  ) {
    if shape.rows == 0 || shape.columns == 0 { return }
    precondition(shape.inner > 0)
    #if OneDNN
      if let primitive = primitive(for: shape) {
        primitive.execute(a, b, c)
        return
      }
    #endif
    if !shape.accumulates {
      multiplyOnOpenBLAS(shape, a, b, into: c)
      return
    }
    // OpenBLAS folds the old value into its sum over K: product first, then the addition.
    let count = shape.rows * shape.columns
    if product.count < count { product = [Float](repeating: 0, count: count) }
    product.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      multiplyOnOpenBLAS(shape, a, b, into: base)
      addInPlace(c, base, count: count)
    }
  }

  private func multiplyOnOpenBLAS(
    _ shape: ProductShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    into c: UnsafeMutablePointer<Float>
  ) {
    cblas_sgemm(
      CblasRowMajor, shape.transposesA ? CblasTrans : CblasNoTrans,
      shape.transposesB ? CblasTrans : CblasNoTrans,
      Int32(shape.rows), Int32(shape.columns), Int32(shape.inner), 1, a,
      Int32(shape.transposesA ? shape.rows : shape.inner), b,
      Int32(shape.transposesB ? shape.inner : shape.columns), 0, c, Int32(shape.columns))
  }

  #if OneDNN
    private func primitive(for shape: ProductShape) -> OneDNNProduct? {
      guard let oneDNN else { return nil }
      if let known = primitives[shape] { return known }
      // Shapes follow the lengths of the data; what is dropped here is still in oneDNN's own cache.
      if primitives.count > 4096 { primitives.removeAll(keepingCapacity: true) }
      let made = OneDNNProduct(shape, on: oneDNN)
      primitives[shape] = .some(made)
      return made
    }
  #endif
}
