import Tensor

/// Which training row stands at which position of which step: a pure function of the step.
///
/// Position i of step s is the global position p = s · pairs + i; it lies in epoch p / n of n
/// positions, whose order is a permutation keyed by (seed, epoch). So every position of the mixture
/// comes once in each epoch – with one file, every row –, and no restart, rank count or batch split
/// changes the order.
public struct ShardPlan: Sendable, Equatable {
  /// Which rows an epoch has.
  public let mixture: EpochMixture
  /// The number of positions of a step.
  public let pairs: Int
  /// The seed of the order.
  public let seed: UInt64
  /// Whether epochs are shuffled; otherwise each has the order of the data.
  public let shuffle: Bool

  /// A plan; there must be a row and a position.
  public init(mixture: EpochMixture, pairs: Int, seed: UInt64, shuffle: Bool) {
    precondition(mixture.positionCount > 0 && pairs > 0, "a plan needs rows and pairs")
    self.mixture = mixture
    self.pairs = pairs
    self.seed = seed
    self.shuffle = shuffle
  }

  /// The row index of each position of a step.
  ///
  /// - Parameter step: the step, counted from 0.
  /// - Returns: `pairs` indices of rows; a row can come twice where an epoch ends.
  ///   - Complexity: O(positions) for each epoch that the step touches, as the order is drawn anew.
  public func rows(step: Int) -> [Int] {
    let random = KeyedRandom(seed: seed, purpose: .shuffle)
    let positionCount = mixture.positionCount
    var rows: [Int] = []
    rows.reserveCapacity(pairs)
    var position = step * pairs
    while rows.count < pairs {
      let (epoch, first) = position.quotientAndRemainder(dividingBy: positionCount)
      let count = min(positionCount - first, pairs - rows.count)
      let order =
        shuffle
        ? random.permutation(count: positionCount, step: epoch)[first..<first + count]
        : Array(first..<first + count)[...]
      rows += order.map { mixture.row(position: $0, epoch: epoch) }
      position += count
    }
    return rows
  }

  /// How many epochs the first `steps` steps are, for the metrics.
  public func epochs(steps: Int) -> Double {
    Double(steps) * Double(pairs) / Double(mixture.positionCount)
  }
}
