import Tensor
import Testing

/// A way to compute: number of threads and library.
struct Setting: Sendable, CustomTestStringConvertible {
  var threadCount: Int
  var usesOneDNN: Bool

  /// One and two threads on both libraries.
  static let all = [
    Setting(threadCount: 1, usesOneDNN: true), Setting(threadCount: 2, usesOneDNN: true),
    Setting(threadCount: 1, usesOneDNN: false), Setting(threadCount: 2, usesOneDNN: false),
  ]

  /// Two threads on both libraries; `ThreadCountTests` shows that one thread gives the same bits.
  static let twoThreads = all.filter { $0.threadCount == 2 }

  /// Threads and library for a test; made in the test, since oneDNN's threads belong to a caller.
  func compute() -> Compute { Compute(threadCount: threadCount, usesOneDNN: usesOneDNN) }

  var testDescription: String {
    "\(threadCount) thread(s), \(usesOneDNN ? "oneDNN" : "OpenBLAS")"
  }
}

/// Whether oneDNN has kernels here whose rows don't depend on each other.
let hasInvariantKernels = Compute(threadCount: 1).kernelName.hasPrefix("oneDNN")

/// A table of doubles, row-major: what the plain reference loops read and write.
struct Table {
  let rows: Int
  let columns: Int
  var values: [Double]

  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    values = [Double](repeating: 0, count: rows * columns)
  }

  /// Normal numbers that are exact as 32-bit floats.
  init(rows: Int, columns: Int, seed: UInt64, deviation: Double = 1) {
    self.init(rows: rows, columns: columns)
    var random = TestRandom(state: seed)
    for index in values.indices { values[index] = Double(Float(random.normal() * deviation)) }
  }

  subscript(row: Int, column: Int) -> Double {
    get { values[row * columns + column] }
    set { values[row * columns + column] = newValue }
  }

  /// This table with every number replaced.
  func filled(_ value: Double) -> Table {
    var result = self
    for index in values.indices { result.values[index] = value }
    return result
  }

  /// This table with every number rounded to one that is exact in the precision.
  func rounded(_ precision: Precision) -> Table {
    if precision == .f32 { return self }
    var result = self
    for index in values.indices {
      result.values[index] = Double(widened(nearestBF16(Float(values[index]))))
    }
    return result
  }

  /// This table moved by `step` along `direction`.
  func moved(_ step: Double, along direction: Table) -> Table {
    var result = self
    for index in values.indices { result.values[index] += step * direction.values[index] }
    return result
  }
}

/// Memory of a kernel's operand, with the guard that nothing is written behind it.
///
/// Keep it in a constant: a temporary's memory is gone before a kernel reads its `matrix`.
final class Operand {
  private static let guardCount = 24
  private static let guardValue: Float = 1.2345e30
  let rows: Int
  let columns: Int
  let precision: Precision
  private let buffer: FloatBuffer
  /// The floats as what an optimizer updates.
  var masters: MasterWeights { MasterWeights(floats: base, count: rows * columns) }

  /// A copy of a table's numbers, rounded to the precision.
  init(_ table: Table, _ precision: Precision = .f32) {
    rows = table.rows
    columns = table.columns
    self.precision = precision
    buffer = FloatBuffer(count: rows * columns + Operand.guardCount)
    let guardPlaces = rows * columns..<rows * columns + Operand.guardCount
    switch precision {
    case .f32:
      for (index, value) in table.values.enumerated() { buffer.base[index] = Float(value) }
      for index in guardPlaces { buffer.base[index] = Operand.guardValue }
    case .bf16:
      let guardValue = nearestBF16(Operand.guardValue)
      for (index, value) in table.values.enumerated() {
        halves[index] = nearestBF16(Float(value))
      }
      for index in guardPlaces { halves[index] = guardValue }
    }
  }

  /// Memory filled with a number, by default one that shows where nothing was overwritten.
  convenience init(
    rows: Int, columns: Int, _ precision: Precision = .f32, filledWith value: Double = 777
  ) {
    self.init(Table(rows: rows, columns: columns).filled(value), precision)
  }

  private var halves: UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(buffer.base).assumingMemoryBound(to: UInt16.self)
  }

  var operand: OperandMatrix {
    OperandMatrix(base: buffer.base, rows: rows, columns: columns, precision: precision)
  }
  /// Only for floats.
  var matrix: Matrix {
    precondition(precision == .f32)
    return buffer.matrix(rows: rows, columns: columns)
  }
  /// Only for floats.
  var base: UnsafeMutablePointer<Float> { matrix.base }
  var isGuardIntact: Bool {
    let expected = precision == .f32 ? Operand.guardValue : widened(nearestBF16(Operand.guardValue))
    return (0..<Operand.guardCount).allSatisfy { self[rows * columns + $0] == expected }
  }

  private subscript(index: Int) -> Float {
    precision == .f32 ? buffer.base[index] : widened(halves[index])
  }

  var floats: [Float] { (0..<rows * columns).map { self[$0] } }
  var bits: [UInt32] { floats.map(\.bitPattern) }
  var table: Table {
    var result = Table(rows: rows, columns: columns)
    for index in result.values.indices { result.values[index] = Double(self[index]) }
    return result
  }
}

/// The nearest bf16, of two equally near ones the even one, by comparing distances.
func nearestBF16(_ value: Float) -> UInt16 {
  let down = UInt16(truncatingIfNeeded: value.bitPattern >> 16)
  // A NaN stays one, quiet; an infinity is exact.
  if value.isNaN { return down | 0x40 }
  if value.isInfinite { return down }
  let up = down + 1
  // Half the distance behind the largest finite number leads to infinity, as if it were 2¹²⁸.
  let above = up & 0x7FFF == 0x7F80 ? 0x1p128 : abs(Double(widened(up)))
  let (toDown, toUp) = (
    abs(Double(value)) - abs(Double(widened(down))), above - abs(Double(value))
  )
  if toDown != toUp { return toDown < toUp ? down : up }
  return down % 2 == 0 ? down : up
}

/// A bf16 as a float.
func widened(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

/// Expects numbers near a reference: the largest difference against the reference's largest number.
func expectClose(
  _ found: Operand, _ reference: Table, tolerance: Double = 3e-6, _ what: String = "",
  location: SourceLocation = #_sourceLocation
) {
  #expect(found.isGuardIntact, "\(what): wrote behind the end", sourceLocation: location)
  let size = reference.values.reduce(1e-30) { max($0, abs($1)) }
  var largest = 0.0
  for (a, b) in zip(found.table.values, reference.values) {
    largest = max(largest, abs(a - b).isFinite ? abs(a - b) / size : .infinity)
  }
  #expect(
    found.rows * found.columns == reference.values.count && largest <= tolerance,
    "\(what): relative error \(largest)", sourceLocation: location)
}

/// Expects ⟨gradient, u⟩ = (f(x + εu) − f(x − εu))/2ε along several random u.
///
/// `function` is recomputed in Double, so ε can be small and the kernel's rounding is all that is
/// left; the tolerance is relative to |gradient| |u|.
func expectGradient(
  _ gradient: Table, at point: Table, tolerance: Double = 3e-6, _ what: String = "",
  location: SourceLocation = #_sourceLocation, of function: (Table) -> Double
) {
  func norm(_ table: Table) -> Double {
    table.values.reduce(0) { $0 + $1 * $1 }.squareRoot()
  }
  for seed in 0..<4 {
    let direction = Table(rows: point.rows, columns: point.columns, seed: 9000 + UInt64(seed))
    let step = 1e-5
    let difference =
      (function(point.moved(step, along: direction))
        - function(point.moved(-step, along: direction))) / (2 * step)
    let predicted = zip(gradient.values, direction.values).reduce(0) { $0 + $1.0 * $1.1 }
    let error = abs(predicted - difference) / max(1e-30, norm(gradient) * norm(direction))
    #expect(
      error <= tolerance,
      "\(what), direction \(seed): \(predicted) against \(difference), error \(error)",
      sourceLocation: location)
  }
}

/// Σ a ∘ b.
func inner(_ a: Table, _ b: Table) -> Double {
  zip(a.values, b.values).reduce(0) { $0 + $1.0 * $1.1 }
}

/// Elementwise sum.
func sum(_ a: Table, _ b: Table) -> Table { a.moved(1, along: b) }

/// Reproducible draws that share no code with `KeyedRandom` (SplitMix64).
struct TestRandom: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// About normal, deviation 1: the sum of twelve uniform draws, centred.
  mutating func normal() -> Double { (0..<12).reduce(-6.0) { sum, _ in sum + uniform() } }
}

/// Expects counts that fit given shares by χ², with one false alarm in a million seeds.
///
/// The limit is Wilson and Hilferty's approximation of χ²'s quantile. A share of 0 allows no count.
func expectFrequencies(
  _ counts: [Int], _ shares: [Double], location: SourceLocation = #_sourceLocation
) {
  let total = Double(counts.reduce(0, +))
  var statistic = 0.0
  var cells = 0
  for (count, share) in zip(counts, shares) {
    if share == 0 {
      #expect(count == 0, "drawn although impossible", sourceLocation: location)
      continue
    }
    let expected = share * total
    #expect(expected >= 5, "too few draws for this test", sourceLocation: location)
    statistic += (Double(count) - expected) * (Double(count) - expected) / expected
    cells += 1
  }
  let freedom = Double(cells - 1)
  let normalQuantile = 4.7534  // of 1 − 1e-6
  let part = 2 / (9 * freedom)
  let root = 1 - part + normalQuantile * part.squareRoot()
  let limit = freedom * root * root * root
  #expect(
    statistic <= limit, "χ² \(statistic) of \(cells) cells, limit \(limit)",
    sourceLocation: location)
}

/// Expects equal lists, and tells how many entries differ and which is the first.
///
/// `#expect(a == b)` looks for the shortest way from one list to the other, for hours if they are
/// long and far apart.
func expectEqual<Element: Equatable>(
  _ found: [Element], _ expected: [Element], _ what: String = "",
  location: SourceLocation = #_sourceLocation
) {
  let different = zip(found, expected).enumerated().filter { $0.element.0 != $0.element.1 }
  let isEqual = found.count == expected.count && different.isEmpty
  #expect(
    isEqual,
    """
    \(what): \(found.count) entries, expected \(expected.count); \(different.count) differ, \
    the first at \(different.first?.offset ?? -1)
    """, sourceLocation: location)
}
