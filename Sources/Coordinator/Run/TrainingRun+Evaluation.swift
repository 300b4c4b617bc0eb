import Comm
import JSONText
import Model
import Tensor
import Worker

// Rows evaluated together; a constant, so that results do not depend on the rank count.
private let evaluationBatch = 8

extension TrainingRun {
  /// Evaluates on held-out rows and writes a line of metrics; collective.
  func evaluateStep(communicator: borrowing Communicator, progress: ProgressLine) throws {
    guard let evaluation else { return }
    let start = Stopwatch.now
    var line = MetricLine()
    line.add("step", step)
    switch configuration.method {
    case .sft: try evaluateCompletions(evaluation, &line, communicator: communicator)
    case .reward: try evaluateRewards(evaluation, &line, communicator: communicator)
    case .dpo, .sail:
      try evaluatePairs(evaluation, &line, communicator: communicator)
      try evaluateGenerations(evaluation, &line, communicator: communicator)
    }
    line.add("eval_runtime", Stopwatch.now - start)
    if isLeader {
      try folder.append([line.json], to: folder.metrics)
      let shown = line.members.filter {
        ["eval_loss", "eval_rewards/accuracies", "eval_win_rate", "eval_objective/scores"]
          .contains($0.key)
      }
      let text = shown.map {
        "\($0.key) \((($0.value.number ?? .nan) * 1e4).rounded() / 1e4)"
      }
      progress.note("step \(step): " + text.joined(separator: ", "))
    }
  }

  private func evaluateCompletions(
    _ data: TrainingData, _ line: inout MetricLine, communicator: borrowing Communicator
  ) throws {
    let count = min(data.count, configuration.evaluate.pairs)
    var own: [CompletionResult] = []
    try forEachOwnBatch(of: count) { range in
      own += worker.completionGradient(
        try range.map {
          let row = try data.record($0)
          return ($0, row.prompt, row.chosen)
        }, addingTo: nil)
    }
    let all = try communicator.allGather(own).joined().sorted { $0.index < $1.index }
    let tokens = all.reduce(0) { $0 + $1.tokens }
    guard tokens > 0 else { return }
    line.add("eval_loss", -all.reduce(0) { $0 + $1.logProbability } / tokens)
    line.add("eval_entropy", all.reduce(0) { $0 + $1.entropy } / tokens)
    line.add("eval_mean_token_accuracy", all.reduce(0) { $0 + $1.correctTokens } / tokens)
  }

  private func evaluatePairs(
    _ data: TrainingData, _ line: inout MetricLine, communicator: borrowing Communicator
  ) throws {
    // Positions in `pairs`; all that follows counts these.
    let pairs = try data.firstWithResponses(configuration.evaluate.pairs).map { try data.pair($0) }
    let count = pairs.count
    if pairs.isEmpty { return }
    var rows = pairs.enumerated().map { index, pair in
      PairRow(
        index: index, route: .offline, prompt: pair.prompt, first: pair.chosen,
        second: pair.rejected, label: .given(firstIsBetter: 1))
    }
    if evaluationReference.count < count {
      let batches = stride(from: 0, to: count, by: evaluationBatch).map {
        Array($0..<min(count, $0 + evaluationBatch))
      }
      try setReferences(of: &rows, batches: batches, communicator: communicator) { _, rows in
        worker.referenceLogProbabilities(of: rows.map(\.family))
      }
      evaluationReference = rows.map {
        PairReference(index: $0.index, first: $0.referenceFirst, second: $0.referenceSecond)
      }
    }
    for reference in evaluationReference.prefix(count) {
      rows[reference.index].referenceFirst = reference.first
      rows[reference.index].referenceSecond = reference.second
    }
    var own: [PairResult] = []
    forEachOwnBatch(of: count) { range in
      own += worker.pairGradient(
        Array(rows[range]), objective: objective(for:), addingTo: nil)
    }
    let all = try communicator.allGather(own).joined().sorted { $0.index < $1.index }
    line.add("eval_loss", meanOf: all.map(\.loss))
    line.addPairs(all, rows: rows, beta: configuration.objective.beta, prefix: "eval_")
  }

  private func evaluateGenerations(
    _ data: TrainingData, _ line: inout MetricLine, communicator: borrowing Communicator
  ) throws {
    let count = min(data.count, configuration.evaluate.generations)
    guard count > 0 else { return }
    let random = KeyedRandom(seed: configuration.seed, purpose: .evaluation)
    // Index, KL, ended, our score, the score of the chosen response; NaN where there is none.
    var own: [SIMD8<Double>] = []
    try forEachOwnBatch(of: count) { range in
      own += try generateAndJudge(data, range, random: random)
    }
    let all = try communicator.allGather(own).joined().sorted { $0[0] < $1[0] }
    line.add("eval_objective/kl", meanOf: all.map { $0[1] })
    line.add("eval_val/contain_eos_token", meanOf: all.map { $0[2] })
    let scored = all.filter { $0[3].isFinite }
    line.add("eval_objective/scores", meanOf: scored.map { $0[3] })
    let compared = scored.filter { $0[4].isFinite }
    if let rate = WinRate(ours: compared.map { $0[3] }, theirs: compared.map { $0[4] }) {
      line.add("eval_win_rate", rate.rate.value)
      line.add("eval_win_rate_low", rate.rate.low)
      line.add("eval_win_rate_high", rate.rate.high)
      line.add("eval_win_rate_strict", rate.strict.value)
    }
  }

  private func generateAndJudge(
    _ data: TrainingData, _ range: Range<Int>, random: KeyedRandom
  ) throws -> [SIMD8<Double>] {
    let rows = try range.map { try data.record($0) }
    let requests = zip(range, rows).map {
      GenerationRequest(prompt: $1.prompt, sampleCount: 1, row: $0)
    }
    // The same draws at every evaluation, so that curves are paired.
    let completions = worker.rollout(
      requests, settings: generationSettings, random: random, step: 0
    ).map { $0[0] }
    let reference = worker.referenceLogProbabilities(
      of: zip(requests, completions).map {
        PromptFamily(prompt: $0.prompt, completions: [$1.tokens])
      })
    var scores = [OracleAnswer](
      repeating: .failed("there is no oracle"), count: completions.count)
    if let oracle {
      scores = try oracle.score(
        zip(rows, completions).map { row, completion in
          let chosen = row.chosen.isEmpty ? [] : [row.chosenText]
          return OracleQuestion(
            prompt: row.promptText,
            completions: [model.tokenizer.decode(completion.tokens)] + chosen,
            areEnded: [completion.isEnded] + chosen.map { _ in true })
        })
    }
    return range.enumerated().map { position, index in
      var row = SIMD8<Double>(repeating: .nan)
      row[0] = Double(index)
      row[1] = completions[position].logProbability - reference[position][0]
      row[2] = completions[position].isEnded ? 1 : 0
      if case .scores(let values) = scores[position] {
        row[3] = values[0]
        if values.count > 1 { row[4] = values[1] }
      }
      return row
    }
  }

  func forEachOwnBatch(of count: Int, _ body: (Range<Int>) throws -> Void) rethrows {
    let batches = (count + evaluationBatch - 1) / evaluationBatch
    for batch in stride(from: rank, to: batches, by: rankCount) {
      try body(batch * evaluationBatch..<min(count, (batch + 1) * evaluationBatch))
    }
  }
}
