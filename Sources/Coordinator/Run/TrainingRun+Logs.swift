import Checkpoint
import Comm
import Foundation
import JSONText
import Worker

extension TrainingRun {
  /// Writes config.yaml and run.json and drops log lines of steps that will be run anew.
  func beginLogs(rankCount: Int, progress: ProgressLine) throws {
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
      JSON.Member(key: "kernels", value: .string(worker.compute.kernelName)),
      JSON.Member(
        key: "parameters", value: .integer(Int64(model.table.parameterCount))),
      JSON.Member(key: "steps", value: .integer(Int64(stepCount))),
      JSON.Member(
        key: "data",
        value: [
          "file": .string(configuration.data.train),
          "digest": .string(try digest(ofFile: configuration.data.train)),
          "rows": .integer(Int64(train.count)),
          "overlong": .integer(Int64(train.leftOut.overlong)),
          "empty": .integer(Int64(train.leftOut.empty)), "cut": .integer(Int64(train.cutCount)),
        ]),
    ]
    if case .folder(let path) = configuration.model {
      let names = ["model.safetensors", "model.safetensors.index.json"]
      for file in names.map({ "\(path)/\($0)" })
      where FileManager.default.fileExists(atPath: file) {
        members.append(
          JSON.Member(
            key: "model",
            value: ["file": .string(file), "digest": .string(try digest(ofFile: file))]))
      }
    }
    try writeFileAtomically(
      Array((JSON.object(members).indentedText + "\n").utf8), path: folder.path + "/run.json")
    try folder.log("\(step == 0 ? "start" : "resume after step \(step)"), \(rankCount) ranks")
    let skipped = train.leftOut.overlong + train.leftOut.empty
    if skipped > 0 {
      progress.note(
        "\(configuration.data.train): left out \(train.leftOut.overlong) rows beyond "
          + "data.max_length or data.max_prompt_length and \(train.leftOut.empty) without a token")
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
      + "\(worker.compute.pool.threadCount == 1 ? "" : "s"), \(worker.compute.kernelName), "
      + "ready after \((startSeconds * 10).rounded() / 10) s"
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
      return zip(outcome.completions, outcome.rows.dataIndices).map { result, index in
        let row = train.completions[index]
        return [
          "step": .integer(Int64(outcome.step)), "row": .integer(Int64(result.index)),
          "prompt": .string(train.prompts[index]),
          "token_ids": .array([ids(row.completion)]),
          "completions": .array([.string(train.chosen[index])]),
          "logp": .number(result.logProbability),
        ]
      }
    }
    return outcome.pairs.map { result in
      let row = outcome.rows.rows[result.index]
      let rollout = outcome.rows.online[result.index]?.rollout
      let scores = rollout?.scores.map { JSON.array($0.map { .number($0) }) } ?? .null
      return [
        "step": .integer(Int64(outcome.step)), "row": .integer(Int64(result.index)),
        "route": .string(row.route.rawValue),
        "prompt": .string(train.prompts[outcome.rows.dataIndices[result.index]]),
        "token_ids": .array([ids(row.first), ids(row.second)]),
        "completions": .array(
          [row.first, row.second].map { .string(model.tokenizer.decode($0)) }),
        "scores": scores,
        "chosen": result.chosen == 0.5 ? .null : .integer(result.chosen == 1 ? 0 : 1),
        "u": .number(result.u), "F": .number(result.value), "baseline": .number(row.baseline),
        "kept": .boolean(!row.isDropped),
      ]
    }
  }

  private func ids(_ tokens: [Int32]) -> JSON { .array(tokens.map { .integer(Int64($0)) }) }
}
