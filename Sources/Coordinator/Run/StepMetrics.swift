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
  /// Sums over tokens of the mean logit, and numbers of tokens.
  var chosenLogits: (sum: Double, tokens: Double)
  var rejectedLogits: (sum: Double, tokens: Double)

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
    let first = (result.firstLogits, result.firstTokens)
    let second = (result.secondLogits, result.tokens - result.firstTokens)
    chosenLogits = isSwapped ? second : first
    rejectedLogits = isSwapped ? first : second
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
    // Own responses without a label have no order.
    let pairs = kept.filter { $0.chosen != 0.5 || !rows[$0.index].route.isOnline }
      .map { OrientedPair($0, row: rows[$0.index], beta: beta) }
    add("\(prefix)logps/chosen", meanOf: pairs.map(\.chosenLog))
    add("\(prefix)logps/rejected", meanOf: pairs.map(\.rejectedLog))
    // Means over tokens, as TRL's.
    for (name, logits) in [
      ("chosen", pairs.map(\.chosenLogits)), ("rejected", pairs.map(\.rejectedLogits)),
    ] where !pairs.isEmpty {
      add(
        "\(prefix)logits/\(name)",
        logits.reduce(0) { $0 + $1.sum } / logits.reduce(0) { $0 + $1.tokens })
    }
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
    switch configuration.method {
    case .sft:
      let tokens = outcome.completions.reduce(0) { $0 + $1.tokens }
      line.add("loss", -outcome.completions.reduce(0) { $0 + $1.logProbability } / tokens)
      line.add("entropy", outcome.completions.reduce(0) { $0 + $1.entropy } / tokens)
      line.add(
        "mean_token_accuracy", outcome.completions.reduce(0) { $0 + $1.correctTokens } / tokens)
    case .reward: line.add("loss", meanOf: outcome.rewards.map(\.loss))
    case .dpo, .sail:
      line.add(
        "loss",
        outcome.pairs.reduce(0) { $0 + $1.loss } / Double(configuration.batch.pairs))
    }
    line.add("grad_norm", outcome.gradientNorm)
    line.add("learning_rate", outcome.learningRate)
    line.add("epoch", plan.epochs(steps: outcome.step))
    line.add("num_tokens", tokenCount)
    if !outcome.isApplied { line.add("update_skipped", 1) }
    switch configuration.method {
    case .sft: break
    case .reward: line.addRewards(outcome.rewards)
    case .dpo, .sail: addPairMetrics(outcome, to: &line)
    }
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
    let kept = outcome.pairs.filter { $0.dropped == 0 }
    line.add(
      "sail/identical", kept.filter { rows[$0.index].first == rows[$0.index].second }.count)
    if configuration.objective.revkl > 0 {
      line.add(
        "sail/revkl",
        meanOf: kept.filter { rows[$0.index].route == .offline }.map(\.divergence))
    }
    for (name, norm) in outcome.termNorms { line.add("sail/\(name)_norm", norm) }
    guard configuration.method == .sail else { return }
    for route in Route.allCases {
      let all = rows.filter { $0.route == route }.count
      let values = kept.filter { rows[$0.index].route == route }
      line.add("sail/\(route.rawValue)/fraction", Double(all) / Double(rows.count))
      line.add("sail/\(route.rawValue)/F", meanOf: values.map(\.value))
      line.add("sail/\(route.rawValue)/u", meanOf: values.map(\.u))
    }
    addLabelMetrics(kept, rows: outcome.rows, to: &line)
    addOnlineMetrics(outcome, to: &line)
  }

  private func addLabelMetrics(
    _ kept: [PairResult], rows step: StepRows, to line: inout MetricLine
  ) {
    let rows = step.rows
    line.add("sail/ties", rows.indices.filter { step.isTie($0) }.count)
    // A drawn self-label that goes against the policy's own preference.
    let drawn = kept.filter {
      guard case .sampled = rows[$0.index].label else { return false }
      return true
    }
    // At u = 0 the policy has no preference to agree with.
    line.add(
      "sail/flip_rate",
      meanOf: drawn.filter { abs($0.u) >= tieWidth }.map {
        ($0.chosen == 1) == ($0.u > 0) ? 0 : 1
      })
    // T2 and T3 of such a row together push the drawn order down (SAIL.md §5.5).
    let reversed = drawn.filter {
      1 + objective(for: rows[$0.index].route).preferenceCoefficient * $0.value < 0
    }
    line.add("sail/reversed", reversed.count)
    let judged = kept.filter {
      rows[$0.index].route == .dpr && $0.chosen != 0.5 && abs($0.u) >= tieWidth
    }
    line.add(
      "sail/label_agreement",
      meanOf: judged.map { ($0.chosen == 1) == ($0.u > 0) ? 1 : 0 })
    let weights = kept.filter { rows[$0.index].generated != nil }.map(\.weight)
    let squares = weights.reduce(0) { $0 + $1 * $1 }
    if squares > 0 {
      // The effective part of the weighted rows: (Σ w)² / (n Σ w²).
      let sum = weights.reduce(0, +)
      line.add("sail/effective_share", sum * sum / (Double(weights.count) * squares))
    }
  }

  private func addOnlineMetrics(_ outcome: StepOutcome, to line: inout MetricLine) {
    let indices = outcome.rows.online.keys.sorted()
    let records = indices.compactMap { outcome.rows.online[$0] }
    let kl = indices.flatMap { index -> [Double] in
      let row = outcome.rows.rows[index]
      guard !row.isDropped, let rollout = outcome.rows.online[index] else { return [] }
      return [
        rollout.completions[0].logProbability - row.referenceFirst,
        rollout.completions[1].logProbability - row.referenceSecond,
      ]
    }
    line.add("objective/kl", meanOf: kl)
    let scores = records.compactMap(\.scores)
    line.add("objective/scores", meanOf: scores.flatMap { $0 })
    line.add(
      "objective/scores_margin", meanOf: scores.map { abs($0[0] - $0[1]) })
    let ended = records.flatMap { $0.completions.map { $0.isEnded ? 1.0 : 0 } }
    line.add("val/contain_eos_token", meanOf: ended)
    line.add("sail/cut", ended.filter { $0 == 0 }.count)
  }
}
