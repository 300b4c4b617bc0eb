import Checkpoint
import Foundation
import JSONText
import Worker

/// Generations of another model on the same prompts.
struct Opponent {
  /// One completion for each prompt.
  let completions: [String]
  /// Whether each completion ended by itself; so it is where the file does not say.
  let areEnded: [Bool]

  /// Reads lines with `prompt` and `completion` or `completions`, which must match the prompts.
  init(path: String, prompts: [DataRow]) throws(DataError) {
    let lines = try DataLine.read(path: path)
    guard lines.count >= prompts.count else {
      throw DataError(
        path, "has \(lines.count) lines, but \(prompts.count) pairs are evaluated; generate anew")
    }
    var found: [String] = []
    var areEnded: [Bool] = []
    for (line, row) in zip(lines, prompts) {
      let text =
        line.object["completion"]?.string ?? line.object["completions"]?.elements?.first?.string
      guard let text, line.object["prompt"]?.text == row.prompt.json.text else {
        throw DataError(
          line.place, "expected a completion of the same prompt as in the evaluated data")
      }
      found.append(text)
      let finish =
        line.object["finish"]?.string ?? line.object["finish"]?.elements?.first?.string
      areEnded.append(finish != "length")
    }
    completions = found
    self.areEnded = areEnded
  }
}

/// Figures of an evaluation with their 95 % intervals.
struct EvaluationReport {
  private(set) var figures: [(name: String, estimate: Estimate)] = []
  private(set) var extra: [JSON.Member] = []

  mutating func add(_ name: String, _ estimate: Estimate?) {
    if let estimate { figures.append((name, estimate)) }
  }

  mutating func add(_ name: String, _ value: JSON) {
    extra.append(JSON.Member(key: name, value: value))
  }

  var json: JSON {
    .object(
      figures.map {
        JSON.Member(
          key: $0.name,
          value: [
            "value": .number($0.estimate.value), "low": .number($0.estimate.low),
            "high": .number($0.estimate.high),
          ])
      } + extra)
  }

  /// Name, value and interval in columns.
  var table: String {
    let width = figures.map(\.name.count).max() ?? 0
    return figures.map { figure in
      let name = figure.name.padding(toLength: width, withPad: " ", startingAt: 0)
      let e = figure.estimate
      return "\(name)  \(fixed(e.value))  [\(fixed(e.low)), \(fixed(e.high))]"
    }.joined(separator: "\n")
  }
}

/// A number with three decimals, right-aligned.
func fixed(_ value: Double) -> String {
  guard value.isFinite else { return "      –" }
  let text = String(format: "%.3f", value)
  return String(repeating: " ", count: max(0, 7 - text.count)) + text
}

/// Means, shares and win rates over all evaluated pairs.
func evaluationReport(
  _ records: [JSON], options: EvaluateOptions, oracle: Oracle?,
  opponents: [(name: String, opponent: Opponent)], texts: [TextRow], seconds: Double
) throws -> EvaluationReport {
  var report = EvaluationReport()
  func column(_ name: String) -> [Double] { records.map { $0[name]?.number ?? .nan } }
  func finite(_ values: [Double]) -> [Double] { values.filter(\.isFinite) }
  let chosen = column("logps/chosen")
  let rejected = column("logps/rejected")
  let references = (column("ref_logps/chosen"), column("ref_logps/rejected"))
  report.add("logps/chosen", Estimate(meanOf: chosen))
  report.add("logps/rejected", Estimate(meanOf: rejected))
  if options.reference != nil {
    let margins = records.indices.map {
      options.beta
        * ((chosen[$0] - references.0[$0]) - (rejected[$0] - references.1[$0]))
    }
    report.add("loss", Estimate(meanOf: margins.map { -logSigmoid($0) }))
    report.add("rewards/margins", Estimate(meanOf: margins))
    // A tie, as when the model is the reference, is half right.
    report.add(
      "rewards/accuracies",
      Estimate(shareOf: margins.map { $0 > 0 ? 1 : $0 == 0 ? 0.5 : 0 }))
    let kl = zip(column("completion_logp"), column("completion_ref_logp")).map { $0 - $1 }
    report.add("objective/kl", Estimate(meanOf: finite(kl)))
  }
  addSubsets(
    records,
    margins: records.indices.map {
      options.reference == nil
        ? chosen[$0] - rejected[$0]
        : (chosen[$0] - references.0[$0]) - (rejected[$0] - references.1[$0])
    }, to: &report)
  report.add("completion_tokens", Estimate(meanOf: column("completion_tokens")))
  report.add(
    "val/contain_eos_token",
    Estimate(shareOf: records.map { $0["finish"]?.string == "eos" ? 1 : 0 }))
  if options.reward != nil {
    report.add("eval_reward", Estimate(meanOf: finite(column("reward"))))
    report.add("eval_reward/chosen", Estimate(meanOf: finite(column("chosen_reward"))))
  }
  if let oracle {
    let scores = column("score")
    report.add("objective/scores", Estimate(meanOf: finite(scores)))
    addWinRate("chosen", ours: scores, theirs: column("chosen_score"), to: &report)
    for (name, opponent) in opponents {
      let answers = try oracle.score(
        texts.indices.map {
          OracleQuestion(
            prompt: texts[$0].prompt, completions: [opponent.completions[$0]],
            areEnded: [opponent.areEnded[$0]])
        })
      let theirs = answers.map { answer -> Double in
        if case .scores(let values) = answer { return values[0] }
        return .nan
      }
      addWinRate(name, ours: scores, theirs: theirs, to: &report)
    }
    report.add("unscored", .integer(Int64(scores.filter { !$0.isFinite }.count)))
  }
  report.add("pairs", .integer(Int64(records.count)))
  report.add("beta", .number(options.beta))
  report.add("seconds", .number(seconds))
  return report
}

/// Accuracies by subset, where the data names subsets.
func addSubsets(_ records: [JSON], margins: [Double], to report: inout EvaluationReport) {
  let rows = zip(records, margins).compactMap { record, margin in
    record["subset"]?.string.map {
      (subset: $0, isRight: margin > 0 ? 1 : margin == 0 ? 0.5 : 0)
    }
  }
  let figures = SubsetAccuracy.figures(rows)
  for (name, estimate) in figures.subsets { report.add("accuracy/\(name)", estimate) }
  for (name, value) in figures.sections {
    report.add("accuracy/section/\(name)", Estimate(value: value))
  }
}

private func addWinRate(
  _ name: String, ours: [Double], theirs: [Double], to report: inout EvaluationReport
) {
  let both = zip(ours, theirs).filter { $0.0.isFinite && $0.1.isFinite }
  guard let rate = WinRate(ours: both.map { $0.0 }, theirs: both.map { $0.1 }) else { return }
  let suffix = name == "chosen" ? "" : "/\(name)"
  report.add("win_rate\(suffix)", rate.rate)
  report.add("win_rate_strict\(suffix)", rate.strict)
}

/// Refuses a folder that could not be made, before the work is done.
func checkFolderCanBeMade(_ path: String) throws(DataError) {
  let manager = FileManager.default
  var ancestor = path
  while !ancestor.isEmpty, !manager.fileExists(atPath: ancestor) {
    ancestor = PathParts(ancestor).folder
  }
  let existing = ancestor.isEmpty ? "." : ancestor
  var isFolder: ObjCBool = false
  guard manager.fileExists(atPath: existing, isDirectory: &isFolder), isFolder.boolValue,
    manager.isWritableFile(atPath: existing)
  else {
    throw DataError(
      path, "the folder cannot be made: \(existing) is no folder that can be written to")
  }
}

/// Writes figures and pairs of an evaluation.
func writeEvaluation(_ records: [JSON], _ report: EvaluationReport, folder: String) throws {
  try makeFolder(folder)
  try writeFileAtomically(
    Array((report.json.indentedText + "\n").utf8), path: folder + "/metrics.json")
  try writeFileAtomically(
    Array(records.map { $0.text + "\n" }.joined().utf8), path: folder + "/pairs.jsonl")
}

/// Writes the generations of an evaluation into its folder.
func writeGenerations(_ records: [JSON], folder: String) throws(CheckpointError) {
  let generations = records.map { record -> String in
    let line: JSON = [
      "prompt": record["prompt"] ?? .null, "completion": record["completion"] ?? .null,
      "finish": record["finish"] ?? .null, "score": record["score"] ?? .null,
    ]
    return line.text + "\n"
  }
  try writeFileAtomically(
    Array(generations.joined().utf8), path: folder + "/generations.jsonl")
}
