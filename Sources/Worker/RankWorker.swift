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

  private func sums(of families: [PromptFamily], under decoder: Decoder) -> [[Double]] {
    if families.isEmpty { return [] }
    let batch = PackedBatch(families)
    let statistics = decoder.forward(batch, keepsActivations: false)
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

  /// Adds the gradient of a group's summed pair losses to a flat gradient.
  ///
  /// - Parameters:
  ///   - rows: the group, reference log-probabilities and baselines set.
  ///   - objective: settings of the loss, by route.
  ///   - gradient: the policy's flat gradient, added to; nil for the losses alone.
  /// - Returns: one result a row, in order; dropped rows have a loss of 0.
  public func pairGradient(
    _ rows: [PairRow], objective: (Route) -> PairObjective,
    addingTo gradient: UnsafeMutablePointer<Float>?
  ) -> [PairResult] {
    let kept = rows.filter { !$0.isDropped }
    let batch = PackedBatch(
      kept.map { PromptFamily(prompt: $0.prompt, completions: [$0.first, $0.second]) })
    let statistics =
      kept.isEmpty ? [] : policy.forward(batch, keepsActivations: gradient != nil)
    var coefficients = [Float](repeating: 0, count: batch.targets.count)
    var results: [PairResult] = []
    var next = 0
    for row in rows {
      if row.isDropped {
        results.append(PairResult(index: row.index, dropped: 1))
        continue
      }
      let firstTokens = batch.sequences[next]
      let secondTokens = batch.sequences[next + 1]
      next += 2
      let settings = objective(row.route)
      var result = PairResult(index: row.index)
      result.first = sum(statistics, firstTokens, \.logProbability)
      result.second = sum(statistics, secondTokens, \.logProbability)
      let u = preferenceLogit(
        first: result.first, second: result.second, referenceFirst: row.referenceFirst,
        referenceSecond: row.referenceSecond, beta: settings.beta)
      let loss = pairLoss(
        first: result.first, second: result.second, u: u, label: row.label,
        baseline: row.baseline, objective: settings)
      for index in firstTokens { coefficients[index] = Float(loss.dFirst) }
      for index in secondTokens { coefficients[index] = Float(loss.dSecond) }
      result.loss = loss.loss
      result.u = u
      result.value = loss.value
      result.chosen = loss.isFirstChosen.map { $0 ? 1 : 0 } ?? 0.5
      result.firstLogit = sum(statistics, firstTokens, \.meanLogit) / Double(firstTokens.count)
      result.secondLogit = sum(statistics, secondTokens, \.meanLogit) / Double(secondTokens.count)
      let both = firstTokens.lowerBound..<secondTokens.upperBound
      result.entropy = sum(statistics, both, \.entropy)
      result.correctTokens = correctCount(statistics, both)
      result.tokens = Double(both.count)
      results.append(result)
    }
    if let gradient, !kept.isEmpty {
      backward.backward(batch, coefficients: coefficients, addingTo: gradient)
    }
    return results
  }

  /// Adds the gradient of a group's summed negative log-probabilities to a flat gradient.
  ///
  /// - Parameters:
  ///   - rows: position in the step, prompt and completion.
  ///   - gradient: the policy's flat gradient, added to; nil for the log-probabilities alone.
  /// - Returns: one result a row, in order.
  public func completionGradient(
    _ rows: [(index: Int, prompt: [Int32], completion: [Int32])],
    addingTo gradient: UnsafeMutablePointer<Float>?
  ) -> [CompletionResult] {
    if rows.isEmpty { return [] }
    let batch = PackedBatch(
      rows.map { PromptFamily(prompt: $0.prompt, completions: [$0.completion]) })
    let statistics = policy.forward(batch, keepsActivations: gradient != nil)
    if let gradient {
      backward.backward(
        batch, coefficients: [Float](repeating: -1, count: batch.targets.count),
        addingTo: gradient)
    }
    return zip(rows, batch.sequences).map { row, tokens in
      CompletionResult(
        index: row.index, logProbability: sum(statistics, tokens, \.logProbability),
        entropy: sum(statistics, tokens, \.entropy),
        correctTokens: correctCount(statistics, tokens), tokens: Double(tokens.count))
    }
  }

  private var backward: DecoderBackward {
    if let policyBackward { return policyBackward }
    let made = DecoderBackward(policy)
    policyBackward = made
    return made
  }
}

/// Sum over a sequence's tokens, in order.
private func sum(
  _ statistics: [TokenStatistics], _ range: Range<Int>,
  _ key: KeyPath<TokenStatistics, Double>
) -> Double {
  range.reduce(0) { $0 + statistics[$1][keyPath: key] }
}

private func correctCount(_ statistics: [TokenStatistics], _ range: Range<Int>) -> Double {
  range.reduce(0) { $0 + (statistics[$1].isMostLikely ? 1 : 0) }
}
