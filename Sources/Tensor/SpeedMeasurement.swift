import Glibc

/// A product of a linear layer of M rows, K inputs and N outputs; each takes 2 · M · N · K operations.
public enum MeasuredProduct: String, Sendable, CaseIterable {
  /// y = x · wᵀ, as forward and decoding do it.
  case forward
  /// dx = dy · w.
  case inputGradient = "input gradient"
  /// dw += dyᵀ · x.
  case weightGradient = "weight gradient"
}

/// A way through memory; rates count the bytes that the loop names, as STREAM does.
public enum MemoryAccess: String, Sendable, CaseIterable {
  /// s += a[i].
  case read
  /// b[i] = a[i]: read and written bytes.
  case copy
  /// c[i] = a[i] + s · b[i]: two streams read, one written.
  case triad
}

/// Measures what a rank's threads reach: products a second, bytes of memory a second.
///
/// Weights of products come from a memory larger than the caches, another matrix each time, as in
/// training and decoding. Each rate is that of the best of several rounds of about 20 ms, so that
/// what disturbs a round does not count.
public final class SpeedMeasurement {
  private let memory: FloatBuffer

  /// A measurement with a memory of so many bytes, which should be several times the caches'.
  public init(memoryBytes: Int) {
    precondition(memoryBytes >= 1 << 20)
    memory = FloatBuffer(count: memoryBytes / MemoryLayout<Float>.stride)
    memory.base.update(repeating: measuredValue, count: memory.count)
  }

  /// Operations a second of a product.
  ///
  /// - Parameters:
  ///   - product: which of the three; what it gives is f32.
  ///   - precision: type of its operands.
  ///   - rows: M, a multiple of 32 for a weight gradient.
  ///   - columns: N.
  ///   - inner: K; N · K floats must fit into the memory.
  ///   - seconds: how long to measure.
  ///   - compute: the threads and products that are measured.
  /// - Returns: floating-point operations a second.
  public func productRate(
    _ product: MeasuredProduct, precision: Precision, rows: Int, columns: Int, inner: Int,
    seconds: Double, on compute: Compute
  ) -> Double {
    let bytes = columns * inner * (product == .weightGradient ? 4 : precision.byteCount)
    let matrixCount = memory.count * MemoryLayout<Float>.stride / bytes
    precondition(matrixCount > 0)
    func operand(_ base: Floats, _ rows: Int, _ columns: Int) -> OperandMatrix {
      OperandMatrix(base: base, rows: rows, columns: columns, precision: precision)
    }
    let first = FloatBuffer(count: rows * max(columns, inner))
    let second = FloatBuffer(count: rows * max(columns, inner))
    first.base.update(repeating: measuredValue, count: first.count)
    second.base.update(repeating: measuredValue, count: second.count)
    var next = 0
    let best = bestSeconds(measuring: seconds) {
      let place = UnsafeMutableRawPointer(memory.base) + next % matrixCount * bytes
      let weights = place.assumingMemoryBound(to: Float.self)
      next += 1
      switch product {
      case .forward:
        compute.linear(
          operand(first.base, rows, inner), operand(weights, columns, inner),
          into: second.matrix(rows: rows, columns: columns).operand)
      case .inputGradient:
        compute.linearInputGradient(
          operand(first.base, rows, columns), operand(weights, columns, inner),
          into: second.matrix(rows: rows, columns: inner).operand)
      case .weightGradient:
        compute.linearWeightGradient(
          operand(first.base, rows, columns), operand(second.base, rows, inner),
          addingTo: Matrix(base: weights, rows: columns, columns: inner))
      }
    }
    return 2 * Double(rows) * Double(columns) * Double(inner) / best
  }

  /// Bytes a second of a way through memory.
  ///
  /// - Parameters:
  ///   - access: which way.
  ///   - seconds: how long to measure.
  ///   - compute: the threads that are measured.
  /// - Returns: bytes a second, read and written ones together.
  public func bandwidth(
    _ access: MemoryAccess, seconds: Double, on compute: Compute
  ) -> Double {
    let streams = access == .read ? 1 : access == .copy ? 2 : 3
    let count = memory.count / streams / 1024 * 1024
    let (first, second, third) = (
      memory.base, memory.base + (streams - 1) / 2 * count, memory.base + (streams - 1) * count
    )
    var sums = [Float](repeating: 0, count: compute.pool.threadCount)
    let best = sums.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let sums = buffer
      return bestSeconds(measuring: seconds) {
        compute.pool.forEachPart(of: count, multiple: 1024) { part, thread in
          let (start, length) = (part.lowerBound, part.count)
          switch access {
          case .read: sums[thread] = dot(first + start, first + start, count: length)
          case .copy: (third + start).update(from: first + start, count: length)
          case .triad: addScaled(third + start, first + start, second + start, count: length)
          }
        }
      }
    }
    return Double(streams * count * MemoryLayout<Float>.stride) / best
  }
}

// 1.0019 as f32, and 1 in both halves as bf16.
private let measuredValue = Float(bitPattern: 0x3F80_3F80)

/// c[i] = a[i] + 0.5 · b[i].
private func addScaled(_ c: Floats, _ a: ConstantFloats, _ b: ConstantFloats, count: Int) {
  var index = 0
  while index + 8 <= count {
    c.store(a.vector(index).addingProduct(Vector(repeating: 0.5), b.vector(index)), index)
    index += 8
  }
  while index < count {
    c[index] = a[index].addingProduct(0.5, b[index])
    index += 1
  }
}

/// Seconds of one call in the best of several rounds.
private func bestSeconds(measuring seconds: Double, _ body: () -> Void) -> Double {
  let roundSeconds = 0.02
  let start = now()
  // The first call makes what is made once, the second says how long one takes.
  body()
  let warm = now()
  body()
  let count = max(1, Int(roundSeconds / max(now() - warm, 1e-9)))
  var best = Double.infinity
  repeat {
    let roundStart = now()
    for _ in 0..<count { body() }
    best = min(best, max(now() - roundStart, 1e-9) / Double(count))
  } while now() - start < seconds
  return best
}

private func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
