import Foundation
import JSONText

/// A table of several runs' evaluations side by side, in Markdown.
///
/// Each folder is a run. Its figures are those of `evaluation/metrics.json`, which `sail evaluate`
/// wrote there, else of the last evaluation in `metrics.jsonl`; the seconds are those of its steps,
/// without evaluation and saving.
///
/// - Parameter folders: run folders, in the order of the rows.
/// - Returns: the table, each figure with its 95 % interval where there is one.
/// - Throws: `DataError` if a file is missing or has no figures.
public func compare(folders: [String]) throws -> String {
  let runs = try folders.map { try ComparedRun(folder: $0) }
  var names: [String] = []
  for run in runs {
    for name in run.figures.map(\.name) where !names.contains(name) { names.append(name) }
  }
  let columns =
    ComparedRun.order.filter { column in names.contains(column.name) }
    + names.filter { $0.hasPrefix("win_rate/") }.map {
      (name: $0, title: "win rate over " + $0.dropFirst("win_rate/".count))
    }
  var rows = [["run", "steps"] + columns.map(\.title) + ["seconds of steps"]]
  for run in runs {
    rows.append(
      [run.name, "\(run.steps)"]
        + columns.map { column in
          run.figures.first { $0.name == column.name }?.text ?? "–"
        } + [String(format: "%.0f", run.seconds)])
  }
  let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
  func line(_ cells: [String]) -> String {
    let padded = zip(cells, widths).map {
      $0 + String(repeating: " ", count: $1 - $0.count)
    }
    return "| " + padded.joined(separator: " | ") + " |"
  }
  let rule = "|" + widths.map { String(repeating: "-", count: $0 + 2) + "|" }.joined()
  return ([line(rows[0]), rule] + rows.dropFirst().map(line)).joined(separator: "\n")
}

private struct ComparedRun {
  let name: String
  let steps: Int
  let seconds: Double
  let figures: [(name: String, text: String)]

  /// Columns in their order, if a run has them.
  static let order: [(name: String, title: String)] = [
    ("rewards/margins", "margin"), ("rewards/accuracies", "accuracy"),
    ("objective/scores", "reward of generations"), ("objective/kl", "KL"),
    ("win_rate", "win rate over chosen"),
  ]

  init(folder: String) throws {
    name = PathParts(folder).name
    let metrics = folder + "/metrics.jsonl"
    let lines = try DataLine.read(path: metrics).map(\.object)
    let file = folder + "/evaluation/metrics.json"
    if FileManager.default.fileExists(atPath: file) {
      let json = try parseJSON(try readFile(file, what: "result of sail evaluate"), source: file)
      figures = (json.members ?? []).compactMap { member in
        guard let value = member.value["value"]?.number else { return nil }
        return (
          member.key,
          Self.text(value, member.value["low"]?.number, member.value["high"]?.number)
        )
      }
    } else {
      let last = lines.last { line in line["time/step"] == nil && line["eval_loss"] != nil }
      figures = Self.order.compactMap { column in
        guard let value = last?["eval_\(column.name)"]?.number else { return nil }
        return (
          column.name,
          Self.text(
            value, last?["eval_\(column.name)_low"]?.number,
            last?["eval_\(column.name)_high"]?.number)
        )
      }
    }
    guard !figures.isEmpty else {
      throw DataError(
        metrics,
        "holds no evaluation; give the run data.eval and evaluate.every, or run sail evaluate --out "
          + "\(folder)/evaluation")
    }
    let stepLines = lines.filter { $0["time/step"] != nil }
    steps = stepLines.count
    seconds = stepLines.reduce(0) { $0 + ($1["time/step"]?.number ?? 0) }
  }

  private static func text(_ value: Double, _ low: Double?, _ high: Double?) -> String {
    func short(_ number: Double) -> String { String(format: "%.2f", number) }
    guard let low, let high else { return short(value) }
    return "\(short(value)) [\(short(low)), \(short(high))]"
  }
}
