import Model
import Tensor

/// One rank's work on groups of rows; it never communicates.
public final class RankWorker {
  /// Threads and products of the rank.
  public let compute: Compute
  /// Forward and backward of the policy.
  public let policy: Decoder
  private let reference: Decoder?
  private var policyBackward: DecoderBackward?

  /// A worker on weights that the caller keeps alive.
  ///
  /// - Parameters:
  ///   - policy: weights that are trained or evaluated.
  ///   - reference: frozen weights, nil where none are needed.
  ///   - compute: threads and products.
  public init(policy: DecoderWeights, reference: DecoderWeights?, compute: Compute) {
    self.compute = compute
    self.policy = Decoder(weights: policy, compute: compute)
    self.reference = reference.map { Decoder(weights: $0, compute: compute) }
  }

  /// Limits the bytes of keys and values that generation holds at once.
  public func limitCaches(to bytes: Int) {
    policy.cacheLimit = bytes
    reference?.cacheLimit = bytes
  }

  /// Log-probabilities of completions under the policy, summed over their tokens.
  ///
  /// - Parameter families: prompts with their completions.
  /// - Returns: for each family, one sum a completion.
  public func logProbabilities(of families: [PromptFamily]) -> [[Double]] {
    sums(of: families, under: policy)
  }

  /// Log-probabilities of completions under the reference (the policy, if there is none).
  ///
  /// - Parameter families: prompts with their completions.
  /// - Returns: for each family, one sum a completion.
  public func referenceLogProbabilities(of families: [PromptFamily]) -> [[Double]] {
    sums(of: families, under: reference ?? policy)
  }

  /// As ``referenceLogProbabilities(of:)``, with the reference's rows that a divergence needs.
  ///
  /// - Parameter families: prompts with their completions, at least one.
  /// - Returns: for each family, one sum a completion; and the rows.
  public func referenceForward(
    of families: [PromptFamily]
  ) -> (sums: [[Double]], rows: ReferenceRows) {
    let batch = PackedBatch(families)
    let (statistics, rows) = (reference ?? policy).referenceForward(batch)
    return (sums(of: families, batch, statistics), rows)
  }

  private func sums(of families: [PromptFamily], under decoder: Decoder) -> [[Double]] {
    if families.isEmpty { return [] }
    let batch = PackedBatch(families)
    return sums(of: families, batch, decoder.forward(batch, keepsActivations: false))
  }

  private func sums(
    of families: [PromptFamily], _ batch: PackedBatch, _ statistics: [TokenStatistics]
  ) -> [[Double]] {
    var sequences = batch.sequences.makeIterator()
    return families.map { family in
      family.completions.map { _ in
        sequences.next().map { sum(statistics, $0, \.logProbability) } ?? 0
      }
    }
  }

  /// Generates completions with the policy.
  ///
  /// - Parameters:
  ///   - requests: prompts and number of samples.
  ///   - settings: how to choose tokens and when to stop.
  ///   - random: the keyed draws.
  ///   - step: key of the draws.
  ///   - onProgress: called after every decoding step with the number of tokens drawn.
  /// - Returns: for each request its completions.
  public func rollout(
    _ requests: [GenerationRequest], settings: GenerationSettings, random: KeyedRandom, step: Int,
    onProgress: (Int) -> Void = { _ in }
  ) -> [[Completion]] {
    policy.generate(
      requests, settings: settings, random: random, step: step, onProgress: onProgress)
  }

  /// Generates completions with the reference (the policy, if there is none); arguments as for
  /// ``rollout(_:settings:random:step:onProgress:)``.
  public func referenceRollout(
    _ requests: [GenerationRequest], settings: GenerationSettings, random: KeyedRandom, step: Int
  ) -> [[Completion]] {
    (reference ?? policy).generate(requests, settings: settings, random: random, step: step)
  }

  /// Adds the gradient of a group's summed negative log-probabilities to a flat gradient.
  ///
  /// - Parameters:
  ///   - rows: position in the step, prompt and completion.
  ///   - dropout: draws of the dropped inputs of the policy's adapter, nil to drop none.
  ///   - gradient: the gradient of what is trained, added to; nil for the log-probabilities alone.
  ///   - startsAtZero: whether `gradient` counts as zero, whatever it holds.
  /// - Returns: one result a row, in order.
  public func completionGradient(
    _ rows: [(index: Int, prompt: [Int32], completion: [Int32])], dropout: DropoutDraws? = nil,
    addingTo gradient: UnsafeMutablePointer<Float>?, startsAtZero: Bool = false
  ) -> [CompletionResult] {
    if rows.isEmpty {
      if startsAtZero { zero(gradient) }
      return []
    }
    let batch = PackedBatch(
      rows.map { PromptFamily(prompt: $0.prompt, completions: [$0.completion], row: $0.index) },
      dropout: dropout)
    let statistics = policy.forward(batch, keepsActivations: gradient != nil)
    if let gradient {
      backward.backward(
        batch, coefficients: [Float](repeating: -1, count: batch.targets.count),
        addingTo: gradient, startsAtZero: startsAtZero)
    }
    return zip(rows, batch.sequences).map { row, tokens in
      CompletionResult(
        index: row.index, logProbability: sum(statistics, tokens, \.logProbability),
        entropy: sum(statistics, tokens, \.entropy),
        correctTokens: correctCount(statistics, tokens), tokens: Double(tokens.count))
    }
  }

  /// Zeroes a gradient of what is trained, to which no row adds anything.
  func zero(_ gradient: UnsafeMutablePointer<Float>?) {
    compute.zero(
      UnsafeMutableBufferPointer(
        start: gradient, count: gradient == nil ? 0 : policy.weights.trainedFloatCount))
  }

  var backward: DecoderBackward {
    if let policyBackward { return policyBackward }
    let made = DecoderBackward(policy)
    policyBackward = made
    return made
  }
}

/// Sum over a sequence's tokens, in order.
func sum(
  _ statistics: [TokenStatistics], _ range: Range<Int>,
  _ key: KeyPath<TokenStatistics, Double>
) -> Double {
  range.reduce(0) { $0 + statistics[$1][keyPath: key] }
}

func correctCount(_ statistics: [TokenStatistics], _ range: Range<Int>) -> Double {
  range.reduce(0) { $0 + (statistics[$1].isMostLikely ? 1 : 0) }
}
