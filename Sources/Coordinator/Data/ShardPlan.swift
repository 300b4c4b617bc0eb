import Tensor

/// Which training row stands at which position of which step: a pure function of the step.
///
/// Position i of step s is the global position p = s · pairs + i; it lies in epoch p / rows, whose
/// order is a permutation keyed by (seed, epoch). So every row comes once in each epoch, and no
/// restart, rank count or batch split changes the order.
public struct ShardPlan: Sendable, Equatable {
  /// The number of training rows.
  public let rowCount: Int
  /// The number of positions of a step.
  public let pairs: Int
  /// The seed of the order.
  public let seed: UInt64
  /// Whether epochs are shuffled; otherwise each has the order of the data.
  public let shuffle: Bool

  /// A plan; there must be a row and a position.
  public init(rowCount: Int, pairs: Int, seed: UInt64, shuffle: Bool) {
    precondition(rowCount > 0 && pairs > 0, "a plan needs rows and pairs")
    self.rowCount = rowCount
    self.pairs = pairs
    self.seed = seed
    self.shuffle = shuffle
  }

  /// The row index of each position of a step.
  ///
  /// - Parameter step: the step, counted from 0.
  /// - Returns: `pairs` indices below `rowCount`; a row can come twice where an epoch ends.
  ///   - Complexity: O(rowCount) for each epoch that the step touches, as the order is drawn anew.
  public func rows(step: Int) -> [Int] {
    let random = KeyedRandom(seed: seed, purpose: .shuffle)
    var rows: [Int] = []
    rows.reserveCapacity(pairs)
    var position = step * pairs
    while rows.count < pairs {
      let (epoch, first) = position.quotientAndRemainder(dividingBy: rowCount)
      let count = min(rowCount - first, pairs - rows.count)
      if shuffle {
        rows += random.permutation(count: rowCount, step: epoch)[first..<first + count]
      } else {
        rows += first..<first + count
      }
      position += count
    }
    return rows
  }

  /// How many epochs the first `steps` steps are, for the metrics.
  public func epochs(steps: Int) -> Double {
    Double(steps) * Double(pairs) / Double(rowCount)
  }
}
