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

/// A measured rate, each second.
public struct MeasuredRate: Sendable, Equatable {
  /// Of the best round, the ceiling: what disturbs the others does not count.
  public var best: Double
  /// Of the median round: what work reaches on this machine with all that goes on beside it.
  public var typical: Double

  /// A rate from its parts.
  public init(best: Double, typical: Double) {
    self.best = best
    self.typical = typical
  }

  /// What `amount` a call makes of the seconds that calls took in the rounds.
  fileprivate init(_ amount: Double, seconds: [Double]) {
    let sorted = seconds.sorted()
    self.init(best: amount / sorted[0], typical: amount / sorted[sorted.count / 2])
  }
}

/// Measures what a rank's threads reach: products a second, bytes of memory a second.
///
/// Weights of products come from a memory larger than the caches, another matrix each time, as in
/// training and decoding. A round is about 20 ms.
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
  ) -> MeasuredRate {
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
    let rounds = secondsOfCalls(measuring: seconds) {
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
    return MeasuredRate(2 * Double(rows) * Double(columns) * Double(inner), seconds: rounds)
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
  ) -> MeasuredRate {
    let streams = access == .read ? 1 : access == .copy ? 2 : 3
    let count = memory.count / streams / 1024 * 1024
    let (first, second, third) = (
      memory.base, memory.base + (streams - 1) / 2 * count, memory.base + (streams - 1) * count
    )
    var sums = [Float](repeating: 0, count: compute.pool.threadCount)
    let rounds = sums.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let sums = buffer
      return secondsOfCalls(measuring: seconds) {
        compute.pool.forEachPart(of: count, multiple: 1024) { part, thread in
          let (start, length) = (part.lowerBound, part.count)
          switch access {
          case .read: sums[thread] = sum(first + start, count: length)
          case .copy: (third + start).update(from: first + start, count: length)
          case .triad: addScaled(third + start, first + start, second + start, count: length)
          }
        }
      }
    }
    return MeasuredRate(
      Double(streams * count * MemoryLayout<Float>.stride), seconds: rounds)
  }
}

// 1.0019 as f32, and 1 in both halves as bf16.
private let measuredValue = Float(bitPattern: 0x3F80_3F80)

/// In eight sums, so that no addition waits for the one before; count is a multiple of 64.
private func sum(_ a: ConstantFloats, count: Int) -> Float {
  var sums = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
  var more = sums
  for index in stride(from: 0, to: count, by: 64) {
    sums.0 += a.vector(index)
    sums.1 += a.vector(index + 8)
    sums.2 += a.vector(index + 16)
    sums.3 += a.vector(index + 24)
    more.0 += a.vector(index + 32)
    more.1 += a.vector(index + 40)
    more.2 += a.vector(index + 48)
    more.3 += a.vector(index + 56)
  }
  return (sums.0 + sums.1 + sums.2 + sums.3 + more.0 + more.1 + more.2 + more.3).sum()
}

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

/// Seconds of one call in each of several rounds.
private func secondsOfCalls(measuring seconds: Double, _ body: () -> Void) -> [Double] {
  let roundSeconds = 0.02
  let start = now()
  // The first call makes what is made once, the second says how long one takes.
  body()
  let warm = now()
  body()
  let count = max(1, Int(roundSeconds / max(now() - warm, 1e-9)))
  var rounds: [Double] = []
  repeat {
    let roundStart = now()
    for _ in 0..<count { body() }
    rounds.append(max(now() - roundStart, 1e-9) / Double(count))
  } while now() - start < seconds
  return rounds
}

private func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
