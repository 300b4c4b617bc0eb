import Checkpoint
import Comm
import Foundation
import JSONText
import Worker

extension TrainingRun {
  /// Writes config.yaml and run.json and drops log lines of steps that will be run anew.
  func beginLogs(rankCount: Int, progress: ProgressLine) throws {
    func digest(of file: String) -> String {
      inputDigests.first { $0.file == file }?.digest ?? ""
    }
    try writeFileAtomically(Array(configuration.yaml.utf8), path: folder.configurationFile)
    try folder.truncate(folder.metrics, toStep: step)
    try folder.truncate(folder.samples, toStep: step)
    var members: [JSON.Member] = [
      JSON.Member(key: "sail", value: .string(sailVersion)),
      JSON.Member(key: "libraries", value: .string(libraryVersions)),
      JSON.Member(key: "host", value: .string(ProcessInfo.processInfo.hostName)),
      JSON.Member(key: "ranks", value: .integer(Int64(rankCount))),
      JSON.Member(
        key: "threads_per_rank", value: .integer(Int64(worker.compute.pool.threadCount))),
      JSON.Member(key: "kernels", value: .string(arithmetic.kernelNames)),
      JSON.Member(key: "precision", value: .string(memory.precision.rawValue)),
      JSON.Member(
        key: "parameters", value: .integer(Int64(model.table.parameterCount))),
      JSON.Member(key: "steps", value: .integer(Int64(stepCount))),
      JSON.Member(
        key: "data",
        value: [
          "files": .array(
            configuration.data.train.map { file in
              return ["file": .string(file.path), "digest": .string(digest(of: file.path))]
            }),
          "training_rows": .integer(Int64(train.count)),
          "rows_an_epoch": .integer(Int64(plan.mixture.positionCount)),
          "counts": .object(train.counts.members),
        ]),
    ]
    if case .folder(let path, _) = configuration.model {
      let names = [
        "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors",
      ]
      for file in names.map({ "\(path)/\($0)" })
      where FileManager.default.fileExists(atPath: file) {
        members.append(
          JSON.Member(
            key: "model",
            value: ["file": .string(file), "digest": .string(digest(of: file))]))
      }
    }
    try writeFileAtomically(
      Array((JSON.object(members).indentedText + "\n").utf8), path: folder.path + "/run.json")
    try folder.log("\(step == 0 ? "start" : "resume after step \(step)"), \(rankCount) ranks")
    if let leftOut = train.counts.leftOut {
      progress.note(
        configuration.data.train.map(\.path).joined(separator: ", ") + ": " + leftOut)
    }
  }

  /// A line that says what is about to happen.
  func summary(startSeconds: Double) -> String {
    let parameters = Double(model.table.parameterCount)
    let size: String
    switch parameters {
    case 1e9...: size = "\((parameters / 1e8).rounded() / 10) B"
    case 1e6...: size = "\((parameters / 1e5).rounded() / 10) M"
    default: size = "\(Int((parameters / 1e3).rounded())) K"
    }
    return "method \(configuration.method): \(size) parameters, \(train.count) rows, "
      + "\(stepCount) steps of \(configuration.batch.pairs) in \(configuration.batch.groups) "
      + "groups, \(rankCount) rank\(rankCount == 1 ? "" : "s") × "
      + "\(worker.compute.pool.threadCount) thread"
      + "\(worker.compute.pool.threadCount == 1 ? "" : "s"), \(arithmetic.kernelNames), "
      + "\(memory.precision.rawValue), ready after \((startSeconds * 10).rounded() / 10) s"
  }

  /// Appends a step to metrics.jsonl and, where they are due, its rows to samples.jsonl.
  func log(_ outcome: StepOutcome) throws {
    try folder.append([metrics(of: outcome)], to: folder.metrics)
    let settings = configuration.samples
    guard configuration.method != .sft, settings.every > 0, outcome.step % settings.every == 0
    else { return }
    let records = allRowRecords(outcome)
    switch settings.rows {
    case .all: try folder.append(records, to: folder.samples)
    case .count(let count):
      try folder.append(Array(records.prefix(count)), to: folder.samples)
    }
  }

  /// The rows of a step as samples.jsonl has them.
  func allRowRecords(_ outcome: StepOutcome) -> [JSON] {
    if configuration.method == .sft {
      return zip(outcome.completions, outcome.rows.data).map { result, row in
        return [
          "step": .integer(Int64(outcome.step)), "row": .integer(Int64(result.index)),
          "prompt": .string(row.promptText),
          "token_ids": .array([ids(row.chosen)]),
          "completions": .array([.string(row.chosenText)]),
          "logp": .number(result.logProbability),
        ]
      }
    }
    if configuration.method == .reward {
      return zip(outcome.rewards, outcome.rows.data).map { rewardRecord($0, $1, outcome) }
    }
    return outcome.pairs.map { pairRecord($0, outcome) }
  }

  /// A pair of a reward model's step with what it takes to compute its gradient outside.
  private func rewardRecord(
    _ result: RewardResult, _ pair: TokenRecord, _ outcome: StepOutcome
  ) -> JSON {
    [
      "step": .integer(Int64(outcome.step)), "row": .integer(Int64(result.index)),
      "prompt": .string(pair.promptText),
      "token_ids": .array([ids(pair.chosen), ids(pair.rejected)]),
      "completions": .array(
        [pair.chosen, pair.rejected].map { .string(model.tokenizer.decode($0)) }),
      "scores": numbers([result.chosen, result.rejected]), "chosen": 0,
      "margin": pair.margin.map { .number($0) } ?? .null,
    ]
  }

  /// A row of a step with what it takes to compute its gradient outside.
  private func pairRecord(_ result: PairResult, _ outcome: StepOutcome) -> JSON {
    let row = outcome.rows.rows[result.index]
    var members: [JSON.Member] = []
    func add(_ key: String, _ value: JSON) { members.append(JSON.Member(key: key, value: value)) }
    add("step", .integer(Int64(outcome.step)))
    add("row", .integer(Int64(result.index)))
    add("route", .string(row.route.rawValue))
    add("prompt", .string(outcome.rows.data[result.index].promptText))
    add("token_ids", .array([ids(row.first), ids(row.second)]))
    add(
      "completions",
      .array([row.first, row.second].map { .string(model.tokenizer.decode($0)) }))
    let rollout = outcome.rows.online[result.index]
    add("scores", rollout?.scores.map(numbers) ?? .null)
    if let failure = rollout?.failure { add("error", .string(failure)) }
    add("label", row.label.json)
    add("chosen", result.chosen == 0.5 ? .null : .integer(result.chosen == 1 ? 0 : 1))
    add("u", .number(result.u))
    add("F", .number(result.value))
    add("baseline", .number(row.baseline))
    add("logps", numbers([result.first, result.second]))
    add("ref_logps", numbers([row.referenceFirst, row.referenceSecond]))
    if let rollout {
      add("generation_logps", numbers(rollout.completions.map(\.drawLogProbability)))
      add(
        "finish", .array(rollout.completions.map { .string($0.isEnded ? "eos" : "length") }))
    }
    add("weight", .number(result.weight))
    if let response = row.referenceResponse { add("reference_ids", ids(response)) }
    add("kept", .boolean(!row.isDropped))
    return .object(members)
  }

  private func ids(_ tokens: [Int32]) -> JSON { .array(tokens.map { .integer(Int64($0)) }) }

  private func numbers(_ values: [Double]) -> JSON { .array(values.map { .number($0) }) }
}

extension PairLabel {
  /// The probability of a given label that the first response is better, or the kind of self-label.
  fileprivate var json: JSON {
    switch self {
    case .given(let probability): .number(probability)
    case .expected: "expected"
    case .sampled: "sample"
    case .mostLikely: "argmax"
    }
  }
}
