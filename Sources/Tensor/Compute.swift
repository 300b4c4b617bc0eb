import COpenBLAS
import CPlatform
import Glibc

#if OneDNN
  import CDNNL
#endif

/// Threads and matrix products of one rank.
///
/// Every result is the same for any number of threads: products are cut where rows don't depend
/// on each other (oneDNN's `brg` kernels) or into parts of fixed size (OpenBLAS), and everything
/// else is cut into parts that share no sum.
public final class Compute {
  /// The rank's threads.
  public let pool: ThreadPool
  let engines: [ProductEngine]
  private let scratches: [Scratch]
  /// Scratch of an operation that all threads work on.
  let sharedScratch = Scratch()
  /// Which kernels do the products, for logs: "oneDNN brg", the same with ", bf16 on AMX tiles" or
  /// ", f32 and bf16 on AVX-512", or "OpenBLAS <core>".
  public let kernelName: String
  /// Whether rows of products don't depend on their neighbours: oneDNN's `brg` kernels and our own.
  public let isInvariant: Bool
  /// Whether this CPU multiplies bf16 with instructions of its own, so that bf16 is worth while.
  public let multipliesBF16: Bool

  /// Starts the threads.
  ///
  /// - Parameters:
  ///   - threadCount: threads of this rank, the caller's included.
  ///   - usesOneDNN: false forces OpenBLAS, for tests and comparisons.
  public init(threadCount: Int, usesOneDNN: Bool = true) {
    openblas_set_num_threads(1)
    pool = ThreadPool(threadCount: threadCount) {
      #if OneDNN
        omp_set_num_threads(1)
      #endif
    }
    engines = (0..<threadCount).map { _ in ProductEngine(usesOneDNN: usesOneDNN) }
    scratches = (0..<threadCount).map { _ in Scratch() }
    isInvariant = engines[0].isRowInvariant(ProductShape(rows: 32, columns: 64, inner: 64))
    multipliesBF16 = engines[0].multipliesBF16
    let library =
      isInvariant ? "oneDNN brg" : "OpenBLAS \(String(cString: openblas_get_corename()))"
    kernelName = library + (engines[0].ownKernels.map { ", \($0)" } ?? "")
  }

  deinit { pool.shutDown() }

  /// Whether gradients of weights with that many columns are sums over any number of rows; else they want
  /// a multiple of 32, padded with zeros.
  ///
  /// - Parameter columns: columns of the weights.
  /// - Returns: whether they are.
  public func sumsAnyRows(columns: Int) -> Bool { engines[0].sumsAnyRows(columns: columns) }

  /// Whether this CPU has the instructions that Sail is compiled for (x86-64-v3).
  public static var isCPUSupported: Bool { sail_cpu_supports_v3() != 0 }

  /// Number of CPUs that this process may use: the size of its affinity mask.
  public static var availableCPUCount: Int { max(1, Int(sail_affinity_count())) }

  /// Number of CPUs of this machine, whatever the affinity mask.
  public static var onlineCPUCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}

// Parts of fixed size for OpenBLAS, whose bits depend on the size of a call.
private let fixedRows = 128

extension Compute {
  /// Linear layer: y = x · wᵀ.
  ///
  /// - Parameters:
  ///   - x: inputs (M, K).
  ///   - w: weights (N, K), of the type of x.
  ///   - y: outputs (M, N), overwritten.
  public func linear(_ x: OperandMatrix, _ w: OperandMatrix, into y: OperandMatrix) {
    precondition(x.columns == w.columns && y.rows == x.rows && y.columns == w.rows)
    precondition(x.precision == w.precision)
    let threads = pool.threadCount
    if isInvariant && threads > 1 && x.rows < 64 * threads && w.rows >= 64 * threads {
      linearByColumns(x, w, into: y)
      return
    }
    forEachRowPart(of: x.rows) { part, thread in
      let shape = ProductShape(
        rows: part.count, columns: w.rows, inner: x.columns, transposesB: true,
        precision: x.precision, result: y.precision)
      engines[thread].multiply(shape, x.row(part.lowerBound), w.base, into: y.row(part.lowerBound))
    }
  }

  /// Gradient of a linear layer's input: dx = or += dy · w.
  ///
  /// - Parameters:
  ///   - dy: gradient of the outputs (M, N).
  ///   - w: weights (N, K), of the type of dy.
  ///   - dx: gradient of the inputs (M, K).
  ///   - accumulates: adds to `dx`, of floats, instead of overwriting it.
  public func linearInputGradient(
    _ dy: OperandMatrix, _ w: OperandMatrix, into dx: OperandMatrix, accumulates: Bool = false
  ) {
    precondition(dy.columns == w.rows && dx.rows == dy.rows && dx.columns == w.columns)
    precondition(dy.precision == w.precision)
    forEachRowPart(of: dy.rows) { part, thread in
      let shape = ProductShape(
        rows: part.count, columns: w.columns, inner: w.rows, accumulates: accumulates,
        precision: dy.precision, result: dx.precision)
      engines[thread].multiply(
        shape, dy.row(part.lowerBound), w.base, into: dx.row(part.lowerBound))
    }
  }

  /// Gradient of a linear layer's weights: dw += dyᵀ · x.
  ///
  /// In every bit the product over all M rows, then one addition.
  /// - Parameters:
  ///   - dy: gradient of the outputs (M, N); M a multiple of 32, padded with zero rows, unless
  ///     ``sumsAnyRows(columns:)``.
  ///   - x: inputs (M, K), of the type of dy.
  ///   - dw: gradient of the weights (N, K), added to.
  ///   - startsAtZero: whether `dw` counts as zero, whatever it holds.
  public func linearWeightGradient(
    _ dy: OperandMatrix, _ x: OperandMatrix, addingTo dw: Matrix, startsAtZero: Bool = false
  ) {
    precondition(dy.rows == x.rows && dw.rows == dy.columns && dw.columns == x.columns)
    precondition(dy.precision == x.precision)
    if dy.rows == 0 {
      if startsAtZero { dw.zero() }
      return
    }
    let bytes = dy.precision.byteCount
    forEachRowPart(of: dw.rows) { part, thread in
      let shape = ProductShape(
        rows: part.count, columns: dw.columns, inner: dy.rows, transposesA: true,
        accumulates: !startsAtZero, precision: dy.precision)
      engines[thread].multiply(
        shape, dy.base + part.lowerBound * bytes, strideA: dy.columns, x.base,
        into: dw.row(part.lowerBound))
    }
  }

  /// Few rows: every thread reads its part of the weights only.
  private func linearByColumns(_ x: OperandMatrix, _ w: OperandMatrix, into y: OperandMatrix) {
    let bytes = y.precision.byteCount
    pool.forEachPart(of: w.rows, multiple: 64) { part, thread in
      let shape = ProductShape(
        rows: x.rows, columns: part.count, inner: x.columns, transposesB: true,
        precision: x.precision, result: y.precision)
      engines[thread].multiply(
        shape, x.base, w.row(part.lowerBound), into: y.base + part.lowerBound * bytes,
        strideC: y.columns)
    }
  }

  func forEachRowPart(of rows: Int, _ body: (Range<Int>, _ thread: Int) -> Void) {
    if isInvariant {
      pool.forEachPart(of: rows, multiple: 8, body)
      return
    }
    pool.run((rows + fixedRows - 1) / fixedRows) { task, thread in
      body(task * fixedRows..<min(rows, (task + 1) * fixedRows), thread)
    }
  }

  /// Scratch memory of a thread; its content is undefined at the start.
  func withScratch(_ count: Int, thread: Int, _ body: (UnsafeMutablePointer<Float>) -> Void) {
    body(scratches[thread].floats(count))
  }
}

/// Memory that grows to the largest request.
final class Scratch {
  private var buffer = FloatBuffer(count: 0)

  func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
    if buffer.count < count { buffer = FloatBuffer(count: count) }
    return buffer.base
  }
}
