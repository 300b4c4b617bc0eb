import Glibc

/// Owner of a flat run of 32-bit floats, 64-byte aligned and zeroed.
///
/// Views (``Matrix``) point into it and are valid while it lives.
public final class FloatBuffer {
  /// Number of floats.
  public let count: Int
  /// First float.
  public let base: UnsafeMutablePointer<Float>
  private let bytes: Int

  /// A zeroed buffer of `count` floats; `count` may be 0.
  public init(count: Int) {
    precondition(count >= 0 && count < Int.max / 8)
    bytes = (count * MemoryLayout<Float>.stride + 127) / 64 * 64
    guard let memory = zeroedMemory(bytes: bytes) else {
      let message = "sail: out of memory: could not allocate \(bytes) bytes\n"
      _ = message.withCString { write(2, $0, strlen($0)) }
      exit(1)
    }
    self.count = count
    base = memory.bindMemory(to: Float.self, capacity: count)
  }

  deinit {
    if bytes < mappedBytes { free(base) } else { munmap(base, bytes) }
  }

  /// The whole buffer as a matrix of `rows` × `columns` from float `offset`.
  public func matrix(rows: Int, columns: Int, offset: Int = 0) -> Matrix {
    precondition(offset >= 0 && offset + rows * columns <= count)
    return Matrix(base: base + offset, rows: rows, columns: columns)
  }

  /// Sets every float to zero.
  public func zero() { memset(base, 0, count * MemoryLayout<Float>.stride) }
}

// From this size on memory is mapped: zero without being written, in huge pages where there are some.
private let mappedBytes = 1 << 22

private func zeroedMemory(bytes: Int) -> UnsafeMutableRawPointer? {
  if bytes < mappedBytes {
    guard let memory = aligned_alloc(64, bytes) else { return nil }
    memset(memory, 0, bytes)
    return memory
  }
  let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
  guard let memory, memory != MAP_FAILED else { return nil }
  madvise(memory, bytes, MADV_HUGEPAGE)
  return memory
}

/// View of a dense row-major matrix of 32-bit floats; valid while the buffer it points into lives.
public struct Matrix: @unchecked Sendable {
  /// First float of the first row.
  public let base: UnsafeMutablePointer<Float>
  /// Number of rows.
  public let rows: Int
  /// Number of columns, which is also the distance between rows.
  public let columns: Int

  /// A view of `rows` × `columns` floats from `base`.
  public init(base: UnsafeMutablePointer<Float>, rows: Int, columns: Int) {
    self.base = base
    self.rows = rows
    self.columns = columns
  }

  /// Number of floats.
  public var count: Int { rows * columns }

  /// The rows in `range` as a matrix.
  public func rows(_ range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return Matrix(base: base + range.lowerBound * columns, rows: range.count, columns: columns)
  }

  /// Pointer to the first float of a row.
  @inline(__always)
  public func row(_ index: Int) -> UnsafeMutablePointer<Float> { base + index * columns }

  /// Sets every float to zero.
  public func zero() { memset(base, 0, count * MemoryLayout<Float>.stride) }
}
