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
    _ x: Matrix, draws: DropoutDraws, keys: [DropoutKey], layer: UInt32, into y: Matrix
  ) {
    precondition(x.rows == y.rows && x.columns == y.columns)
    let threshold = UInt64(draws.probability * 0x1p32)
    let scale = Float(1 / (1 - draws.probability))
    pool.forEachPart(of: x.rows) { part, _ in
      for row in part {
        let (source, target) = (x.row(row), y.row(row))
        guard row < keys.count else {
          target.update(repeating: 0, count: x.columns)
          continue
        }
        let key = keys[row]
        for block in 0..<(x.columns + 3) / 4 {
          let bits = draws.random.block((layer, key.row, key.place, UInt32(block)))
          for (index, draw) in [bits.0, bits.1, bits.2, bits.3].enumerated() {
            let column = 4 * block + index
            if column == x.columns { break }
            target[column] = UInt64(draw) < threshold ? 0 : source[column] * scale
          }
        }
      }
    }
  }
}
