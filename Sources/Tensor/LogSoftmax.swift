import Glibc

/// What one row of logits says about its target token.
public struct TokenStatistics: Sendable {
  /// log softmax(logits)[target], natural.
  public var logProbability: Double
  /// Entropy of softmax(logits), in nats.
  public var entropy: Double
  /// Mean of the logits over the vocabulary.
  public var meanLogit: Double
  /// Whether the target has the largest logit.
  public var isMostLikely: Bool
  /// KL(reference ‖ softmax(logits)) in nats, where it was asked for; else 0.
  public var divergence = 0.0

  /// Statistics from their parts.
  public init(
    logProbability: Double = 0, entropy: Double = 0, meanLogit: Double = 0,
    isMostLikely: Bool = false
  ) {
    self.logProbability = logProbability
    self.entropy = entropy
    self.meanLogit = meanLogit
    self.isMostLikely = isMostLikely
  }
}

/// Sums over one row of logits, collected slice by slice of the vocabulary.
///
/// Inside a slice sums run in float, between slices in double, always in the vocabulary's order.
public struct SoftmaxSums: Sendable, BitwiseCopyable {
  /// The largest logit so far.
  public private(set) var largest = -Float.infinity
  /// Σ e^(l − largest).
  public private(set) var sum = 0.0
  private var weighted = 0.0
  private var total = 0.0
  private var targetLogit: Float = 0

  /// Sums over nothing.
  public init() {}

  /// Sums over one slice.
  ///
  /// - Parameters:
  ///   - logits: the slice.
  ///   - count: its length, 1 to ``VocabularySlices/width``.
  ///   - target: the target token's index in the slice; beyond it elsewhere.
  ///   - scratch: `count` floats.
  init(_ logits: ConstantFloats, count: Int, target: Int, scratch: Floats) {
    largest = maximum(logits, count: count)
    var plain = Vector.zero
    var plainTail: Float = 0
    scratch.update(from: logits, count: count)
    forEachVector(count) { index in
      plain += scratch.vector(index)
    } tail: { index in
      plainTail += scratch[index]
    }
    sum = Double(exponentialsInPlace(scratch, shift: largest, count: count))
    weighted = Double(dot(scratch, logits, count: count))
    total = Double(sumOfLanes(plain) + plainTail)
    if target >= 0, target < count { targetLogit = logits[target] }
  }

  /// Adds a later slice.
  mutating func add(_ slice: SoftmaxSums, holdsTarget: Bool) {
    let best = max(largest, slice.largest)
    let (own, other) = (exp(Double(largest - best)), exp(Double(slice.largest - best)))
    sum = sum * own + slice.sum * other
    weighted = weighted * own + slice.weighted * other
    total += slice.total
    largest = best
    if holdsTarget { targetLogit = slice.targetLogit }
  }

  /// log Σ eˡ.
  public var logSum: Double { Double(largest) + log(sum) }

  /// What the sums over a whole vocabulary of `count` tokens say about the target.
  public func statistics(count: Int) -> TokenStatistics {
    TokenStatistics(
      logProbability: Double(targetLogit) - logSum, entropy: logSum - weighted / sum,
      meanLogit: total / Double(count), isMostLikely: targetLogit == largest)
  }
}

/// A row's logits to the gradient of c · log softmax(logits)[target]: c (1[target] − softmax).
///
/// - Parameters:
///   - logits: a slice of the row, read; may be `gradient`.
///   - count: its length.
///   - sums: of the whole row.
///   - coefficient: c.
///   - target: the target's index in the slice; beyond it elsewhere.
///   - gradient: overwritten.
func logSoftmaxGradient(
  _ logits: ConstantFloats, count: Int, sums: SoftmaxSums, coefficient: Float, target: Int,
  into gradient: Floats
) {
  if gradient != logits { gradient.update(from: logits, count: count) }
  _ = exponentialsInPlace(gradient, shift: sums.largest, count: count)
  let factor = Float(-Double(coefficient) / sums.sum)
  for index in 0..<count { gradient[index] *= factor }
  if target >= 0, target < count { gradient[target] += coefficient }
}
