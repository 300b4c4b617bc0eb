/// Accuracies over the parts of a benchmark, as RewardBench reports them.
enum SubsetAccuracy {
  /// RewardBench's sections with the subsets that each one weighs by their rows (arXiv 2403.13787).
  private static let sections: [(name: String, subsets: [String])] = [
    (
      "chat",
      ["alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"]
    ),
    (
      "chat-hard",
      [
        "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut", "llmbar-adver-manual",
      ]
    ),
    (
      "safety",
      [
        "refusals-dangerous", "refusals-offensive", "xstest-should-refuse",
        "xstest-should-respond", "donotanswer",
      ]
    ),
    ("reasoning", ["math-prm"] + codeSubsets),
  ]
  /// What math-prm weighs as much as, so that code and mathematics count alike.
  private static let codeSubsets = [
    "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust",
  ]

  /// The accuracy of each subset, in the order of their first rows, then of RewardBench's sections and
  /// of all sections together, as far as their subsets are there.
  ///
  /// - Parameter rows: the subset of each row, and whether it is right: 1, 0, or ½ for a tie.
  /// - Returns: names and estimates; a section is a weighted mean without an interval of its own.
  static func figures(
    _ rows: [(subset: String, isRight: Double)]
  ) -> (subsets: [(name: String, estimate: Estimate)], sections: [(name: String, value: Double)]) {
    var names: [String] = []
    var marks: [[Double]] = []
    for row in rows {
      if let index = names.firstIndex(of: row.subset) {
        marks[index].append(row.isRight)
      } else {
        names.append(row.subset)
        marks.append([row.isRight])
      }
    }
    func count(_ name: String) -> Int {
      names.firstIndex(of: name).map { marks[$0].count } ?? 0
    }
    let subsets = zip(names, marks).compactMap { name, marks in
      Estimate(shareOf: marks).map { (name: name, estimate: $0) }
    }
    let codeCount = codeSubsets.reduce(0) { $0 + count($1) }
    var found: [(name: String, value: Double)] = []
    for section in sections {
      let present = subsets.filter { section.subsets.contains($0.name) }
      if present.isEmpty { continue }
      let weights = present.map {
        Double($0.name == "math-prm" && codeCount > 0 ? codeCount : count($0.name))
      }
      let sum = zip(present, weights).reduce(0) { $0 + $1.0.estimate.value * $1.1 }
      found.append((section.name, sum / weights.reduce(0, +)))
    }
    if found.count == sections.count {
      found.append(("all", found.reduce(0) { $0 + $1.value } / Double(found.count)))
    }
    return (subsets, found)
  }
}
