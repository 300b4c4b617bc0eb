import Glibc

/// Number type of what matrix products read; they always add up in f32.
public enum Precision: String, Sendable, Equatable, CaseIterable {
  /// IEEE binary32.
  case f32
  /// bfloat16: the upper half of a binary32, rounded to nearest, ties to even.
  case bf16

  /// Bytes of one number.
  public var byteCount: Int { self == .f32 ? 4 : 2 }
}

/// View of a dense row-major matrix that products read, in f32 or bf16; valid while its memory lives.
public struct OperandMatrix: @unchecked Sendable {
  /// First number of the first row.
  public let base: UnsafeMutableRawPointer
  /// Number of rows.
  public let rows: Int
  /// Number of columns, which is also the distance between rows.
  public let columns: Int
  /// Type of the numbers.
  public let precision: Precision

  /// A view of `rows` × `columns` numbers from `base`.
  public init(base: UnsafeMutableRawPointer, rows: Int, columns: Int, precision: Precision) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.precision = precision
  }

  /// Number of numbers.
  public var count: Int { rows * columns }

  /// The rows in `range` as a matrix.
  public func rows(_ range: Range<Int>) -> OperandMatrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return OperandMatrix(
      base: row(range.lowerBound), rows: range.count, columns: columns, precision: precision)
  }

  /// Pointer to the first number of a row.
  @inline(__always)
  public func row(_ index: Int) -> UnsafeMutableRawPointer {
    base + index * columns * precision.byteCount
  }

  /// Sets every number to zero.
  public func zero() { memset(base, 0, count * precision.byteCount) }

  /// The same memory as a matrix of floats, nil if it is bf16.
  public var floats: Matrix? {
    precision == .f32
      ? Matrix(base: base.assumingMemoryBound(to: Float.self), rows: rows, columns: columns) : nil
  }
}

extension Matrix {
  /// The same memory as an operand of products.
  public var operand: OperandMatrix {
    OperandMatrix(base: base, rows: rows, columns: columns, precision: .f32)
  }
}

/// Owner of a flat run of operands, 64-byte aligned and zeroed.
public final class OperandBuffer {
  /// Number of numbers that fit.
  public let count: Int
  /// Their type.
  public let precision: Precision
  private let memory: FloatBuffer

  /// A zeroed buffer of `count` numbers; `count` may be 0.
  public init(count: Int, precision: Precision) {
    self.count = count
    self.precision = precision
    memory = FloatBuffer(count: precision == .f32 ? count : (count + 1) / 2)
  }

  /// The first `rows` × `columns` numbers as a matrix.
  public func matrix(rows: Int, columns: Int) -> OperandMatrix {
    precondition(rows * columns <= count)
    return OperandMatrix(base: memory.base, rows: rows, columns: columns, precision: precision)
  }
}

extension Compute {
  /// Copies a matrix of floats, rounding where the target is bf16: y = round(x).
  ///
  /// - Parameters:
  ///   - x: (T, C).
  ///   - y: (T, C), overwritten.
  public func round(_ x: Matrix, into y: OperandMatrix) {
    precondition(x.rows == y.rows && x.columns == y.columns)
    pool.forEachPart(of: x.count, multiple: 64) { part, _ in
      let target = y.base + part.lowerBound * y.precision.byteCount
      storeRounded(x.base + part.lowerBound, to: target, y.precision, count: part.count)
    }
  }
}

/// Rounds floats to bf16, to nearest, ties to even; a NaN stays one.
///
/// - Parameters:
///   - source: `count` floats.
///   - target: `count` numbers, overwritten.
///   - count: how many.
public func roundToBF16(
  _ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<UInt16>, count: Int
) {
  let bits = UnsafeRawPointer(source).assumingMemoryBound(to: UInt32.self)
  for index in 0..<count { target[index] = UInt16(truncatingIfNeeded: roundedBits(bits[index])) }
}

/// The bits of a float rounded to bf16, in the lower half.
@inline(__always)
func roundedBits(_ value: UInt32) -> UInt32 {
  let rounded = (value &+ 0x7FFF &+ ((value >> 16) & 1)) >> 16
  let isNaN = value & 0x7FFF_FFFF > 0x7F80_0000
  return isNaN ? (value >> 16) | 0x40 : rounded
}

/// Stores floats as operands.
@inline(__always)
func storeRounded(
  _ source: ConstantFloats, to target: UnsafeMutableRawPointer, _ precision: Precision, count: Int
) {
  switch precision {
  case .f32:
    target.assumingMemoryBound(to: Float.self).update(from: source, count: count)
  case .bf16:
    roundToBF16(source, to: target.assumingMemoryBound(to: UInt16.self), count: count)
  }
}

/// Operands as floats; exact.
@inline(__always)
func loadWidened(
  _ source: UnsafeRawPointer, _ precision: Precision, into target: Floats, count: Int
) {
  switch precision {
  case .f32: target.update(from: source.assumingMemoryBound(to: Float.self), count: count)
  case .bf16:
    let bits = source.assumingMemoryBound(to: UInt16.self)
    let result = UnsafeMutableRawPointer(target).assumingMemoryBound(to: UInt32.self)
    for index in 0..<count { result[index] = UInt32(bits[index]) << 16 }
  }
}

/// Runs `body` on floats that become a row of operands: on the row itself, or on scratch that is then
/// rounded into it.
@inline(__always)
func writeRow(
  _ row: UnsafeMutableRawPointer, _ precision: Precision, scratch: Floats, count: Int,
  _ body: (Floats) -> Void
) {
  switch precision {
  case .f32: body(row.assumingMemoryBound(to: Float.self))
  case .bf16:
    body(scratch)
    roundToBF16(scratch, to: row.assumingMemoryBound(to: UInt16.self), count: count)
  }
}

/// The floats of a row of operands: the row itself, or scratch that it is widened into.
@inline(__always)
func readRow(
  _ row: UnsafeRawPointer, _ precision: Precision, scratch: Floats, count: Int
) -> ConstantFloats {
  switch precision {
  case .f32: return row.assumingMemoryBound(to: Float.self)
  case .bf16:
    loadWidened(row, .bf16, into: scratch, count: count)
    return UnsafePointer(scratch)
  }
}
