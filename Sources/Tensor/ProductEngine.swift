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
  /// Type of A's and B's numbers; sums are f32.
  var precision = Precision.f32
  /// Type of C's numbers: f32, or bf16 rounded once.
  var result = Precision.f32
}

/// The matrix products of one thread.
///
/// The rule which kernels do a product: bf16 on our own tiles where the CPU has AMX; else bf16 and f32 on
/// our own kernels where it has AVX-512 for bf16 and the product is of their kind; oneDNN where it picks a `brg`
/// kernel; else OpenBLAS, in f32 on operands widened for it. It depends on CPU, type and shape only, never on a
/// timing. But for OpenBLAS a row of C does not depend on the other rows
/// (docs/decisions/0001-foundations.md); there it may, so callers cut work for it into parts of fixed
/// size.
final class ProductEngine {
  #if OneDNN
    private let oneDNN: OneDNN?
    private var primitives: [ProductShape: OneDNNProduct?] = [:]
  #endif
  private let tiles: TileProducts?
  private var dots: DotProducts?
  private let product = Scratch()
  private let wideA = Scratch()
  private let wideB = Scratch()
  private let gathered = Scratch()
  private let scattered = Scratch()

  /// Kernels of this CPU; without `usesOwnKernels` the libraries' alone, to compare with.
  init(usesOneDNN: Bool, usesOwnKernels: Bool = true) {
    let usesOwnKernels = usesOneDNN && usesOwnKernels
    tiles = usesOwnKernels ? TileProducts() : nil
    #if OneDNN
      oneDNN = usesOneDNN ? OneDNN() : nil
      guard usesOwnKernels, tiles == nil, runsBF16InOneDNN else { return }
      if let dots = DotProducts(), dots.agree(with: multiplyDense) { self.dots = dots }
    #endif
  }

  /// Our own kernels, for logs; nil if there are none.
  var ownKernels: String? {
    if tiles != nil { return "bf16 on AMX tiles" }
    return dots == nil ? nil : "f32 and bf16 on AVX-512"
  }

  /// Whether bf16 operands run at the speed of this CPU's bf16 instructions.
  var multipliesBF16: Bool { tiles != nil || runsBF16InOneDNN }

  private var runsBF16InOneDNN: Bool {
    #if OneDNN
      let shape = ProductShape(
        rows: 64, columns: 64, inner: 64, transposesB: true, precision: .bf16)
      return primitive(for: shape)?.usesBF16Instructions ?? false
    #else
      return false
    #endif
  }

  /// Whether products of this shape run in a kernel whose rows don't depend on each other.
  func isRowInvariant(_ shape: ProductShape) -> Bool {
    if tiles != nil, shape.precision == .bf16 { return true }
    if dots != nil, DotProducts.multiply(shape) { return true }
    #if OneDNN
      return primitive(for: shape) != nil
    #else
      return false
    #endif
  }

  /// Whether the gradient of weights with that many columns may be a sum over any number of rows; else a
  /// multiple of 32 is fastest, and has the same bits whatever the number of threads.
  func sumsAnyRows(columns: Int) -> Bool { dots != nil && columns % 16 == 0 }

  /// Whether attention's products of heads of this size may have any number of keys: a library makes
  /// a kernel for each.
  func hasAnyShape(size: Int) -> Bool {
    dots != nil && size % 32 == 0
  }

  /// Computes one product of matrices with the shape's dimensions and types.
  ///
  /// - Parameters:
  ///   - shape: dimensions and types.
  ///   - a: A as it is stored.
  ///   - strideA: numbers from a stored row of A to the next, nil if it is dense.
  ///   - b: B as it is stored, dense.
  ///   - c: C, overwritten or added to.
  ///   - strideC: numbers from a row of C to the next, nil if it is dense; such a C isn't added to.
  ///   - next: what is read soon, as much of it as B has, fetched meanwhile by kernels that can; nil if
  ///     nothing is.
  func multiply(
    _ shape: ProductShape, _ a: UnsafeRawPointer, strideA: Int? = nil, _ b: UnsafeRawPointer,
    into c: UnsafeMutableRawPointer, strideC: Int? = nil, fetching next: UnsafeRawPointer? = nil
  ) {
    if shape.rows == 0 || shape.columns == 0 { return }
    precondition(shape.inner > 0 && (strideC == nil || !shape.accumulates))
    let (rowsA, columnsA) =
      shape.transposesA ? (shape.inner, shape.rows) : (shape.rows, shape.inner)
    let (strideA, strideC) = (strideA ?? columnsA, strideC ?? shape.columns)
    if let tiles, shape.precision == .bf16 {
      tiles.multiply(shape, a, strideA: strideA, b, into: c, strideC: strideC)
      return
    }
    if let dots, DotProducts.multiply(shape) {
      dots.multiply(shape, a, strideA: strideA, b, into: c, strideC: strideC, fetching: next)
      return
    }
    // The brg kernels want dense matrices.
    var (denseA, denseC) = (a, c)
    if strideA != columnsA {
      let bytes = shape.precision.byteCount
      let copy = UnsafeMutableRawPointer(
        gathered.floats((rowsA * columnsA * bytes + 3) / MemoryLayout<Float>.stride))
      copyRows(
        rowsA, of: columnsA * bytes, from: a, every: strideA * bytes, to: copy,
        every: columnsA * bytes)
      denseA = UnsafeRawPointer(copy)
    }
    let bytes = shape.result.byteCount
    if strideC != shape.columns {
      denseC = UnsafeMutableRawPointer(
        scattered.floats((shape.rows * shape.columns * bytes + 3) / MemoryLayout<Float>.stride))
    }
    multiplyDense(shape, denseA, b, into: denseC)
    if strideC != shape.columns {
      copyRows(
        shape.rows, of: shape.columns * bytes, from: denseC, every: shape.columns * bytes, to: c,
        every: strideC * bytes)
    }
  }

  private func copyRows(
    _ count: Int, of bytes: Int, from source: UnsafeRawPointer, every sourceStride: Int,
    to target: UnsafeMutableRawPointer, every targetStride: Int
  ) {
    for row in 0..<count {
      (target + row * targetStride).copyMemory(
        from: source + row * sourceStride, byteCount: bytes)
    }
  }

  private func multiplyDense(
    _ shape: ProductShape, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
    into c: UnsafeMutableRawPointer
  ) {
    #if OneDNN
      if let primitive = primitive(for: shape) {
        primitive.execute(a, b, c)
        return
      }
    #endif
    if shape.precision == .bf16 || shape.result == .bf16 {
      multiplyWidened(shape, a, b, into: c)
      return
    }
    let (a, b) = (
      a.assumingMemoryBound(to: Float.self), b.assumingMemoryBound(to: Float.self)
    )
    let c = c.assumingMemoryBound(to: Float.self)
    if !shape.accumulates {
      multiplyOnOpenBLAS(shape, a, b, into: c)
      return
    }
    // OpenBLAS folds the old value into its sum over K: product first, then the addition.
    let count = shape.rows * shape.columns
    let floats = product.floats(count)
    multiplyOnOpenBLAS(shape, a, b, into: floats)
    addInPlace(c, floats, count: count)
  }

  /// A product of bf16 that the library has no kernel for: in f32, rounded at the end.
  private func multiplyWidened(
    _ shape: ProductShape, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
    into c: UnsafeMutableRawPointer
  ) {
    let (countA, countB) = (shape.rows * shape.inner, shape.inner * shape.columns)
    let a = readRow(a, shape.precision, scratch: wideA.floats(countA), count: countA)
    let b = readRow(b, shape.precision, scratch: wideB.floats(countB), count: countB)
    var wide = shape
    wide.precision = .f32
    wide.result = .f32
    if shape.result == .f32 {
      multiplyDense(wide, a, b, into: c)
      return
    }
    precondition(!shape.accumulates)
    let count = shape.rows * shape.columns
    let floats = product.floats(count)
    multiplyDense(wide, a, b, into: floats)
    roundToBF16(floats, to: c.assumingMemoryBound(to: UInt16.self), count: count)
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
