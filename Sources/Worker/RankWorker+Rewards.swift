import Model

/// A preference pair that a reward model learns from.
public struct RewardRow: Sendable {
  /// Position in the step.
  public var index: Int
  /// The prompt as token ids.
  public var prompt: [Int32]
  /// The preferred completion, its end token included.
  public var chosen: [Int32]
  /// The other completion, its end token included.
  public var rejected: [Int32]
  /// By how much the chosen response is to be better, at least; 0 where the data does not say.
  public var margin: Double

  /// A row from its parts.
  public init(
    index: Int, prompt: [Int32], chosen: [Int32], rejected: [Int32], margin: Double
  ) {
    self.index = index
    self.prompt = prompt
    self.chosen = chosen
    self.rejected = rejected
    self.margin = margin
  }
}

/// What a pair came to under a reward model.
public struct RewardResult: Sendable, BitwiseCopyable {
  /// Position in the step.
  public var index: Int
  /// −log σ(chosen − rejected − margin).
  public var loss: Double
  /// Score of the preferred response.
  public var chosen: Double
  /// Score of the other.
  public var rejected: Double
  /// Tokens of both completions.
  public var tokens: Double
}

/// The Bradley–Terry loss of a pair's scores with a margin (Touvron et al., arXiv 2307.09288, equation 2).
///
/// - Returns: −log σ(chosen − rejected − margin), and its slope by the chosen score; that by the rejected
///   is the opposite.
public func rewardLoss(
  chosen: Double, rejected: Double, margin: Double
) -> (loss: Double, slope: Double) {
  let difference = chosen - rejected - margin
  return (-logSigmoid(difference), -sigmoid(-difference))
}

extension RankWorker {
  /// Scores of sequences under a policy that is a reward model.
  ///
  /// - Parameter sequences: token ids, at least one each.
  /// - Returns: one score a sequence.
  public func scores(of sequences: [[Int32]]) -> [Double] {
    guard let head = policy.weights.configuration.scoreHead, !sequences.isEmpty else { return [] }
    let batch = PackedBatch(
      sequences.map { PromptFamily(prompt: $0, completions: [[]]) }, scoredBy: head)
    return policy.scores(batch, keepsActivations: false)
  }

  /// Adds the gradient of a group's summed Bradley–Terry losses to a flat gradient.
  ///
  /// - Parameters:
  ///   - rows: the group.
  ///   - gradient: the gradient of what is trained, added to; nil for the losses alone.
  ///   - startsAtZero: whether `gradient` counts as zero, whatever it holds.
  /// - Returns: one result a row, in order.
  public func rewardGradient(
    _ rows: [RewardRow], addingTo gradient: UnsafeMutablePointer<Float>?,
    startsAtZero: Bool = false
  ) -> [RewardResult] {
    guard let head = policy.weights.configuration.scoreHead, !rows.isEmpty else {
      if startsAtZero { zero(gradient) }
      return []
    }
    let batch = PackedBatch(
      rows.map { PromptFamily(prompt: $0.prompt, completions: [$0.chosen, $0.rejected]) },
      scoredBy: head)
    let scores = policy.scores(batch, keepsActivations: gradient != nil)
    var coefficients: [Double] = []
    let results = rows.enumerated().map { position, row in
      let (chosen, rejected) = (scores[2 * position], scores[2 * position + 1])
      let (loss, slope) = rewardLoss(chosen: chosen, rejected: rejected, margin: row.margin)
      coefficients += [slope, -slope]
      return RewardResult(
        index: row.index, loss: loss, chosen: chosen, rejected: rejected,
        tokens: Double(row.chosen.count + row.rejected.count))
    }
    if let gradient {
      backward.scoreBackward(
        batch, coefficients: coefficients, addingTo: gradient, startsAtZero: startsAtZero)
    }
    return results
  }
}
