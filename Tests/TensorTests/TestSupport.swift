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
  private let buffer: FloatBuffer

  /// A copy of a table's numbers.
  init(_ table: Table) {
    rows = table.rows
    columns = table.columns
    buffer = FloatBuffer(count: rows * columns + Operand.guardCount)
    for (index, value) in table.values.enumerated() { buffer.base[index] = Float(value) }
    for index in 0..<Operand.guardCount {
      buffer.base[rows * columns + index] = Operand.guardValue
    }
  }

  /// Memory filled with a number, by default one that shows where nothing was overwritten.
  convenience init(rows: Int, columns: Int, filledWith value: Double = 777) {
    self.init(Table(rows: rows, columns: columns).filled(value))
  }

  var matrix: Matrix { buffer.matrix(rows: rows, columns: columns) }
  var base: UnsafeMutablePointer<Float> { buffer.base }
  var isGuardIntact: Bool {
    (0..<Operand.guardCount).allSatisfy {
      buffer.base[rows * columns + $0] == Operand.guardValue
    }
  }

  var floats: [Float] { (0..<rows * columns).map { buffer.base[$0] } }
  var bits: [UInt32] { floats.map(\.bitPattern) }
  var table: Table {
    var result = Table(rows: rows, columns: columns)
    for index in result.values.indices { result.values[index] = Double(buffer.base[index]) }
    return result
  }
}

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
