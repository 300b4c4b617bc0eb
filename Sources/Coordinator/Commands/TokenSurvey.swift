import Foundation

/// Counts over the tokenised rows of a data file.
struct TokenSurvey {
  /// Rows that were looked at.
  private(set) var rowCount = 0
  /// What becomes of them in a run.
  private(set) var counts = RowCounts()
  private var equalPairs = 0
  private var lostDifferences = 0
  private var missingEnds = 0
  private var longerChosen = 0
  private var sameLength = 0
  /// Token counts of prompts and of the first and second responses.
  private var lengths: [[Int32]] = [[], [], []]
  private let endTokens: [Int32]

  /// A survey of no rows yet.
  init(model: ModelFolder, limits: LengthLimits) { endTokens = model.endTokens }

  /// Adds a row.
  ///
  /// - Parameters:
  ///   - text: the row.
  ///   - encoder: makes tokens of it, with the limits.
  /// - Returns: its tokens, or why it is left out.
  mutating func add(_ text: TextRow, _ encoder: RowEncoder) -> RowEncoder.Outcome {
    rowCount += 1
    let whole = encoder.unlimited(text)
    let outcome = encoder.limited(whole)
    switch outcome {
    case .overlong: counts.overlong += 1
    case .empty: counts.empty += 1
    case .row(let row):
      if text.isTie {
        counts.tied += 1
        break
      }
      counts.usable += 1
      if row.isCut { counts.cut += 1 }
      for (index, tokens) in ([row.prompt] + row.responses).enumerated() {
        lengths[index].append(Int32(clamping: tokens.count))
      }
      // A chat template may write something behind its end token.
      missingEnds += row.responses.count {
        $0.suffix(3).allSatisfy { !endTokens.contains($0) }
      }
      guard row.responses.count == 2 else { break }
      let (chosen, rejected) = (row.responses[0], row.responses[1])
      if whole.responses[0] == whole.responses[1] {
        equalPairs += 1
      } else if chosen == rejected {
        lostDifferences += 1
      }
      if chosen.count > rejected.count { longerChosen += 1 }
      if chosen.count == rejected.count { sameLength += 1 }
    }
    return outcome
  }

  /// The survey for people.
  var lines: [String] {
    let isPair = !lengths[2].isEmpty
    let names = isPair ? ["prompt", "chosen", "rejected"] : ["prompt", "completion"]
    var lines = ["tokens          mean     min     5%  median    95%     max"]
    for (name, lengths) in zip(names, lengths) where !lengths.isEmpty {
      let sorted = lengths.sorted()
      func at(_ share: Double) -> String {
        String(format: "%7d", sorted[Int((Double(sorted.count - 1) * share).rounded())])
      }
      lines.append(
        name.padding(toLength: 12, withPad: " ", startingAt: 0)
          + String(format: "%8.1f", mean(lengths)) + " " + at(0) + at(0.05) + " " + at(0.5)
          + at(0.95) + " " + at(1))
    }
    lines.append("")
    func add(_ name: String, _ count: Int, _ remark: String, always: Bool = false) {
      guard always || count > 0 else { return }
      lines.append(
        name.padding(toLength: 20, withPad: " ", startingAt: 0) + String(format: "%8d", count)
          + (remark.isEmpty ? "" : "   " + remark))
    }
    add("rows", rowCount, "", always: true)
    add("usable", counts.usable, "", always: true)
    add("overlong", counts.overlong, "left out")
    add("empty", counts.empty, "left out: a prompt or completion without a token")
    add("ties", counts.tied, "left out: both responses have the same score")
    add("cut", counts.cut, "kept without the prompt's beginning or a completion's end")
    add(
      "missing end tokens", missingEnds, "completions that do not teach where to end", always: true)
    guard isPair else { return lines }
    add("equal pairs", equalPairs, "chosen = rejected: nothing to learn", always: true)
    add("lost differences", lostDifferences, "equal only after cutting", always: true)
    let longer = 100 * Double(longerChosen) / Double(max(1, counts.usable))
    let same = 100 * Double(sameLength) / Double(max(1, counts.usable))
    lines.append(
      "length bias         " + String(format: "%7.1f%%", longer)
        + "   chosen is longer"
        + String(
          format: " (as long: %.1f%%), on average %+.1f tokens", same,
          mean(lengths[1]) - mean(lengths[2])))
    return lines
  }

  private func mean(_ lengths: [Int32]) -> Double {
    lengths.reduce(0.0) { $0 + Double($1) } / Double(max(1, lengths.count))
  }
}
