import Comm
import JSONText
import Model
import Worker

// Pairs scored together.
private let pairBatch = 8

/// Evaluates a reward model on held-out pairs: how often it scores the chosen response higher; collective.
///
/// Prompt and response are joined as in `sail reward`. Writes `metrics.json` and `pairs.jsonl`.
/// - Parameters:
///   - options: the command's.
///   - model: the reward model.
///   - texts: the pairs.
///   - progress: shown on rank 0.
///   - communicator: all ranks.
/// - Returns: the exit code.
/// - Throws: what is wrong with the pairs; an option that a reward model has no use for.
func evaluateRewardModel(
  _ options: EvaluateOptions, model: LoadedModel, texts: [TextRow], progress: ProgressLine,
  communicator: borrowing Communicator
) throws -> Int32 {
  let start = Stopwatch.now
  let pairs = try communicator.agree {
    for (name, isSet) in [
      ("--reference", options.reference != nil), ("--reward", options.reward != nil),
      ("--judge", options.judge != nil),
    ] where isSet {
      throw ConfigurationError(
        "\(options.model) is a reward model, which generates nothing and is compared with nothing; "
          + "leave out \(name)")
    }
    let endToken = try options.addsEndToken ? model.folder.requireEndToken() : nil
    return try texts.map { text in
      let both = text.responses.map {
        // A chat template has written its own ending.
        model.folder.rewardTokens(
          prompt: text.prompt, completion: $0.text, endToken: text.isTemplated ? nil : endToken)
      }
      guard both.count == 2, both.allSatisfy({ !$0.isEmpty }) else {
        throw DataError(text.place, "a response is missing or has no token; give it some text")
      }
      try model.folder.checkPositions(both.map(\.count).max() ?? 0, "\(text.place) has")
      return both
    }
  }
  let lines = try mapRows(
    count: pairs.count, batch: pairBatch, what: "evaluate", progress: progress,
    communicator: communicator
  ) { range in
    let scores = model.scores(pairs[range].flatMap { $0 }, isReversed: options.isReversed)
    return range.enumerated().map { position, index in
      let record: JSON = [
        "prompt": texts[index].given.json, "score/chosen": .number(scores[2 * position]),
        "score/rejected": .number(scores[2 * position + 1]),
        "subset": texts[index].subset.map { .string($0) } ?? .null,
      ]
      return Array(record.text.utf8)
    }
  }
  guard communicator.rank == 0 else {
    try communicator.barrier()
    return 0
  }
  let records = try lines.map { try parseJSON($0, source: "evaluation") }
  let report = rewardReport(records, seconds: Stopwatch.now - start)
  try writeEvaluation(records, report, folder: options.output)
  print(report.table)
  try communicator.barrier()
  return 0
}

/// Accuracy, loss and mean scores over pairs.
private func rewardReport(_ records: [JSON], seconds: Double) -> EvaluationReport {
  func column(_ name: String) -> [Double] { records.map { $0[name]?.number ?? .nan } }
  let (chosen, rejected) = (column("score/chosen"), column("score/rejected"))
  let margins = zip(chosen, rejected).map { $0 - $1 }
  var report = EvaluationReport()
  report.add("loss", Estimate(meanOf: margins.map { -logSigmoid($0) }))
  report.add("rewards/chosen", Estimate(meanOf: chosen))
  report.add("rewards/rejected", Estimate(meanOf: rejected))
  report.add("rewards/margins", Estimate(meanOf: margins))
  // A tie is half right.
  report.add(
    "rewards/accuracies", Estimate(shareOf: margins.map { $0 > 0 ? 1 : $0 == 0 ? 0.5 : 0 }))
  addSubsets(records, margins: margins, to: &report)
  report.add("pairs", .integer(Int64(records.count)))
  report.add("seconds", .number(seconds))
  return report
}
