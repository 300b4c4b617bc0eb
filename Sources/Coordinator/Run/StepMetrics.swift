import JSONText
import Worker

/// Means of a step or an evaluation, as members of a line of metrics.
struct MetricLine {
  private(set) var members: [JSON.Member] = []

  mutating func add(_ name: String, _ value: Double) {
    members.append(JSON.Member(key: name, value: .number(value)))
  }

  mutating func add(_ name: String, _ value: Int) {
    members.append(JSON.Member(key: name, value: .integer(Int64(value))))
  }

  mutating func add(_ name: String, meanOf values: [Double]) {
    if !values.isEmpty { add(name, values.reduce(0, +) / Double(values.count)) }
  }

  mutating func add(_ name: String, _ value: JSON) {
    members.append(JSON.Member(key: name, value: value))
  }

  var json: JSON { .object(members) }
}

/// A pair's result with the chosen response first, as TRL's metrics want it.
struct OrientedPair {
  var chosenLog: Double
  var rejectedLog: Double
  var chosenReward: Double
  var rejectedReward: Double
  var chosenLogit: Double
  var rejectedLogit: Double

  /// A drawn or given label orders the pair; a tie or an expectation leaves the stored order.
  init(_ result: PairResult, row: PairRow, beta: Double) {
    let rewards = (
      beta * (result.first - row.referenceFirst), beta * (result.second - row.referenceSecond)
    )
    let isSwapped = result.chosen == 0
    chosenLog = isSwapped ? result.second : result.first
    rejectedLog = isSwapped ? result.first : result.second
    chosenReward = isSwapped ? rewards.1 : rewards.0
    rejectedReward = isSwapped ? rewards.0 : rewards.1
    chosenLogit = isSwapped ? result.secondLogit : result.firstLogit
    rejectedLogit = isSwapped ? result.firstLogit : result.secondLogit
  }

  var isAccurate: Double { chosenReward > rejectedReward ? 1 : 0 }
}

extension MetricLine {
  /// TRL's pair metrics over kept rows, each name after `prefix`.
  mutating func addPairs(
    _ results: [PairResult], rows: [PairRow], beta: Double, prefix: String = ""
  ) {
    let kept = results.filter { $0.dropped == 0 }
    let tokens = kept.reduce(0) { $0 + $1.tokens }
    if tokens > 0 {
      add("\(prefix)entropy", kept.reduce(0) { $0 + $1.entropy } / tokens)
      add("\(prefix)mean_token_accuracy", kept.reduce(0) { $0 + $1.correctTokens } / tokens)
    }
    let pairs = kept.map { OrientedPair($0, row: rows[$0.index], beta: beta) }
    add("\(prefix)logps/chosen", meanOf: pairs.map(\.chosenLog))
    add("\(prefix)logps/rejected", meanOf: pairs.map(\.rejectedLog))
    add("\(prefix)logits/chosen", meanOf: pairs.map(\.chosenLogit))
    add("\(prefix)logits/rejected", meanOf: pairs.map(\.rejectedLogit))
    add("\(prefix)rewards/chosen", meanOf: pairs.map(\.chosenReward))
    add("\(prefix)rewards/rejected", meanOf: pairs.map(\.rejectedReward))
    add("\(prefix)rewards/margins", meanOf: pairs.map { $0.chosenReward - $0.rejectedReward })
    add("\(prefix)rewards/accuracies", meanOf: pairs.map(\.isAccurate))
  }
}

extension TrainingRun {
  /// The line of metrics.jsonl of a step; all numbers are over all ranks.
  func metrics(of outcome: StepOutcome) -> JSON {
    var line = MetricLine()
    line.add("step", outcome.step)
    if configuration.method == .sft {
      let tokens = outcome.completions.reduce(0) { $0 + $1.tokens }
      line.add("loss", -outcome.completions.reduce(0) { $0 + $1.logProbability } / tokens)
      line.add("entropy", outcome.completions.reduce(0) { $0 + $1.entropy } / tokens)
      line.add(
        "mean_token_accuracy", outcome.completions.reduce(0) { $0 + $1.correctTokens } / tokens)
    } else {
      line.add(
        "loss",
        outcome.pairs.reduce(0) { $0 + $1.loss } / Double(configuration.batch.pairs))
    }
    line.add("grad_norm", outcome.gradientNorm)
    line.add("learning_rate", outcome.learningRate)
    line.add("epoch", plan.epochs(steps: outcome.step))
    line.add("num_tokens", tokenCount)
    if !outcome.isApplied { line.add("update_skipped", 1) }
    if configuration.method != .sft { addPairMetrics(outcome, to: &line) }
    line.add("time/step", outcome.wallSeconds)
    for phase in StepPhase.allCases where phase != .checkpoint {
      line.add("time/\(phase.name)", outcome.seconds[phase.rawValue])
    }
    line.add(
      "tokens_per_second",
      Double(outcome.trainedTokens + outcome.generatedTokens) / max(outcome.wallSeconds, 1e-9))
    line.add("memory_gb", outcome.memoryBytes / 1e9)
    return line.json
  }

  private func addPairMetrics(_ outcome: StepOutcome, to line: inout MetricLine) {
    let rows = outcome.rows.rows
    line.addPairs(outcome.pairs, rows: rows, beta: configuration.objective.beta)
    line.add("sail/dropped", outcome.pairs.filter { $0.dropped > 0 }.count)
    guard configuration.method == .sail else { return }
    line.add("sail/ties", outcome.rows.online.values.filter(\.isTie).count)
    let kept = outcome.pairs.filter { $0.dropped == 0 }
    for route in Route.allCases {
      let all = rows.filter { $0.route == route }.count
      let values = kept.filter { rows[$0.index].route == route }
      line.add("sail/\(route.rawValue)/fraction", Double(all) / Double(rows.count))
      line.add("sail/\(route.rawValue)/F", meanOf: values.map(\.value))
      line.add("sail/\(route.rawValue)/u", meanOf: values.map(\.u))
    }
    // A drawn self-label that goes against the policy's own preference.
    let drawn = kept.filter {
      guard case .sampled = rows[$0.index].label else { return false }
      return true
    }
    line.add(
      "sail/flip_rate", meanOf: drawn.map { ($0.chosen == 1) == ($0.u > 0) ? 0 : 1 })
    let judged = kept.filter { rows[$0.index].route == .dpr && $0.chosen != 0.5 }
    line.add(
      "sail/label_agreement",
      meanOf: judged.map { ($0.chosen == 1) == ($0.u > 0) ? 1 : 0 })
    addOnlineMetrics(outcome, to: &line)
  }

  private func addOnlineMetrics(_ outcome: StepOutcome, to line: inout MetricLine) {
    let indices = outcome.rows.online.keys.sorted()
    let records = indices.compactMap { outcome.rows.online[$0] }
    let kl = indices.flatMap { index -> [Double] in
      let row = outcome.rows.rows[index]
      guard !row.isDropped, let rollout = outcome.rows.online[index]?.rollout else { return [] }
      return [
        rollout.completions[0].logProbability - row.referenceFirst,
        rollout.completions[1].logProbability - row.referenceSecond,
      ]
    }
    line.add("objective/kl", meanOf: kl)
    let scores = records.compactMap(\.rollout.scores)
    line.add("objective/scores", meanOf: scores.flatMap { $0 })
    line.add(
      "objective/scores_margin", meanOf: scores.map { abs($0[0] - $0[1]) })
    line.add(
      "val/contain_eos_token",
      meanOf: records.flatMap { $0.rollout.completions.map { $0.isEnded ? 1 : 0 } })
  }
}
