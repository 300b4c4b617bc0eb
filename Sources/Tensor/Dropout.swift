/// Which inputs are dropped (Srivastava et al., JMLR 2014): drawn by what they are, so that forward
/// and backward, any rank and any restart draw the same.
public struct DropoutDraws: Sendable {
  /// Probability that a number is dropped, from 0 to below 1.
  public let probability: Double
  fileprivate let random: KeyedRandom

  /// The draws of one optimizer step.
  public init(probability: Double, seed: UInt64, step: Int) {
    precondition(probability >= 0 && probability < 1)
    self.probability = probability
    random = KeyedRandom(seed: seed, purpose: .dropout, step: step)
  }
}

/// What keys the draws of one row: its row in the step, and its place in that row.
public struct DropoutKey: Sendable {
  /// Row in the step.
  public var row: UInt32
  /// Place among that row's tokens.
  public var place: UInt32

  /// A key from its parts.
  public init(row: UInt32, place: UInt32) {
    self.row = row
    self.place = place
  }
}

extension Compute {
  /// Drops numbers and scales the others: y = x ∘ m / (1 − p), m drawn.
  ///
  /// It is its own backward.
  /// - Parameters:
  ///   - x: (T, N).
  ///   - draws: the step's draws.
  ///   - keys: one a row; rows beyond them become zero.
  ///   - layer: which layer's input this is; others have other draws.
  ///   - y: (T, N), overwritten; may be `x` itself.
  public func dropout(
    _ x: OperandMatrix, draws: DropoutDraws, keys: [DropoutKey], layer: UInt32,
    into y: OperandMatrix
  ) {
    precondition(x.rows == y.rows && x.columns == y.columns)
    // Below 2³², as the probability is below 1.
    let threshold = UInt32(draws.probability * 0x1p32)
    let scale = Float(1 / (1 - draws.probability))
    pool.forEachPart(of: x.rows) { part, thread in
      withScratch(32 + 2 * x.columns, thread: thread) { scratch in
        scratch.withMemoryRebound(to: UInt32.self, capacity: 32) { numbers in
          for row in part {
            guard row < keys.count else {
              y.rows(row..<row + 1).zero()
              continue
            }
            let key = keys[row]
            let source = readRow(
              x.row(row), x.precision, scratch: scratch + 32, count: x.columns)
            writeRow(
              y.row(row), y.precision, scratch: scratch + 32 + x.columns, count: x.columns
            ) { target in
              for first in stride(from: 0, to: x.columns, by: 32) {
                draws.random.blocks(
                  (layer, key.row, key.place, UInt32(first / 4)), into: numbers)
                for index in 0..<min(32, x.columns - first) {
                  let value = source[first + index] * scale
                  target[first + index] = numbers[index] < threshold ? 0 : value
                }
              }
            }
          }
        }
      }
    }
  }
}
