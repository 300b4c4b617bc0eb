import Comm
import Worker

// `method: reward`: a reward model from preference pairs, as TRL's RewardTrainer.

extension TrainingRun {
  /// Computes the gradient of the next step of a reward model; collective.
  ///
  /// - Returns: the number of pairs, which divides it.
  func rewardStep(
    _ outcome: inout StepOutcome, communicator: borrowing Communicator, onPhase: (String) -> Void
  ) throws -> Int {
    outcome.rows.data = try plan.rows(step: step).map { try train.record($0) }
    let rows = outcome.rows.data.enumerated().map { rewardRow($1, position: $0) }
    outcome.trainedTokens = rows.reduce(0) { $0 + $1.chosen.count + $1.rejected.count }
    let groups = WorkGroups.groups(
      lengths: rows.map { $0.prompt.count + $0.chosen.count + $0.rejected.count },
      count: configuration.batch.groups)
    onPhase("policy")
    var own: [RewardResult] = []
    try sumGroups(groups.count, communicator: communicator) { group, gradient, startsAtZero in
      own += worker.rewardGradient(
        groups[group].map { rows[$0] }, addingTo: gradient, startsAtZero: startsAtZero)
    }
    outcome.rewards = try communicator.allGather(own).joined().sorted { $0.index < $1.index }
    return rows.count
  }

  /// Evaluates a reward model on held-out pairs; collective.
  func evaluateRewards(
    _ data: TrainingData, _ line: inout MetricLine, communicator: borrowing Communicator
  ) throws {
    let count = min(data.count, configuration.evaluate.pairs)
    var own: [RewardResult] = []
    try forEachOwnBatch(of: count) { range in
      own += worker.rewardGradient(
        try range.map { rewardRow(try data.record($0), position: $0) }, addingTo: nil)
    }
    let all = try communicator.allGather(own).joined().sorted { $0.index < $1.index }
    line.add("eval_loss", meanOf: all.map(\.loss))
    line.addRewards(all, prefix: "eval_")
  }

  private func rewardRow(_ row: TokenRecord, position: Int) -> RewardRow {
    RewardRow(
      index: position, prompt: row.prompt, chosen: row.chosen, rejected: row.rejected,
      margin: row.margin ?? 0)
  }
}

extension MetricLine {
  /// TRL's metrics of a reward model, and those of pairs under the names that other methods have.
  mutating func addRewards(_ results: [RewardResult], prefix: String = "") {
    let scores = results.flatMap { [$0.chosen, $0.rejected] }
    guard let least = scores.min(), let most = scores.max() else { return }
    let accuracies = results.map { $0.chosen > $0.rejected ? 1.0 : 0 }
    let margins = results.map { $0.chosen - $0.rejected }
    add("\(prefix)accuracy", meanOf: accuracies)
    add("\(prefix)margin", meanOf: margins)
    add("\(prefix)min_reward", least)
    add("\(prefix)mean_reward", meanOf: scores)
    add("\(prefix)max_reward", most)
    add("\(prefix)rewards/chosen", meanOf: results.map(\.chosen))
    add("\(prefix)rewards/rejected", meanOf: results.map(\.rejected))
    add("\(prefix)rewards/margins", meanOf: margins)
    add("\(prefix)rewards/accuracies", meanOf: accuracies)
  }
}
