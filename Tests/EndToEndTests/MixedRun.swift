import Foundation
import JSONText
import Testing

/// A small SAIL run that mixes all routes, with generation, labels by a rule and evaluation.
struct MixedRun {
  let folder: WorkFolder

  /// Writes its data, model configuration and run file.
  init(_ folder: WorkFolder) throws {
    self.folder = folder
    try sailDone([
      "synthesize", "--out", folder.file("data"), "--supervised", "200", "--pairs", "200",
      "--evaluation-pairs", "16", "--hidden", "64", "--layers", "2",
    ])
    let data = folder.file("data")
    try folder.write(
      "run.yaml",
      """
      model: {config: \(data)/model/config.json, tokenizer: \(data)/model, seed: 1}
      method: sail
      data: {train: \(data)/train.jsonl, eval: \(data)/eval.jsonl}
      sail:
        ddp: {fraction: 0.25, labels: sample}
        dpp: {fraction: 0.25, labels: sample, response_coefficient: 0.1}
        dpr: {fraction: 0.25, response_coefficient: 0.1}
      oracle: {rule: synthetic}
      generation: {max_new_tokens: 16}
      batch: {pairs: 16, groups: 8}
      optimizer: {learning_rate: 1e-3}
      steps: 6
      evaluate: {every: 3, pairs: 16, generations: 16}
      samples: {every: 1, rows: all}
      checkpoint: {every: 2, keep: 5}
      seed: 3
      output: \(folder.file("out"))
      """)
  }

  /// The arguments of a run into a folder.
  func arguments(_ output: String, _ settings: [String] = [], resume: String = "never")
    -> [String]
  {
    ["train", "--config", folder.file("run.yaml"), "--resume", resume]
      + (["output=\(folder.file(output))"] + settings).flatMap { ["--set", $0] }
  }

  /// Runs to the end and answers what came of it.
  func result(
    _ output: String, _ settings: [String] = [], _ launch: Launch = .alone,
    ranksPerNode: Int? = nil, resume: String = "never"
  ) throws -> RunResult {
    let nodes = ranksPerNode.map { ["--ranks-per-node", "\($0)"] } ?? []
    try sailDone(arguments(output, settings, resume: resume) + nodes, launch)
    return try RunResult(folder.file(output))
  }
}

/// What two runs that are equal in every bit have in common.
struct RunResult: Equatable, CustomTestStringConvertible {
  let weights: [UInt8]
  let samples: [UInt8]
  /// The lines of metrics without times and memory.
  let metrics: [String]

  /// Not the bytes themselves, which fill pages where an expectation fails.
  var testDescription: String { "a run of \(metrics.count) lines of metrics" }

  init(_ output: String) throws {
    let isAdapter = FileManager.default.fileExists(atPath: output + "/model/adapter_config.json")
    weights = try fileBytes(
      output + "/model/\(isAdapter ? "adapter_model" : "model").safetensors")
    samples = try fileBytes(output + "/samples.jsonl")
    metrics = try fileLines(output + "/metrics.jsonl").map { line in
      JSON.object(
        (line.members ?? []).filter {
          !$0.key.hasPrefix("time/")
            && !["tokens_per_second", "memory_gb", "eval_runtime"].contains($0.key)
        }
      ).text
    }
  }

  /// What differs, for a test's message.
  func differences(from other: RunResult) -> String {
    var parts: [String] = []
    if weights != other.weights { parts.append("weights") }
    if samples != other.samples { parts.append("samples.jsonl") }
    if metrics.count != other.metrics.count {
      parts.append("\(metrics.count) and \(other.metrics.count) lines of metrics")
    }
    if let pair = zip(metrics, other.metrics).first(where: { $0 != $1 }) {
      parts.append("metrics: \(pair.0) and \(pair.1)")
    }
    return parts.joined(separator: "; ")
  }
}
