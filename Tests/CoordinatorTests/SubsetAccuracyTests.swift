import Testing

@testable import Coordinator

@Suite struct SubsetAccuracyTests {
  /// RewardBench's own counts and the accuracies of its README's example, beaver-7b-v1.0-cost.
  private static let published: [(name: String, count: Int, accuracy: Double)] = [
    ("alpacaeval-easy", 100, 0.5), ("alpacaeval-hard", 95, 0.7052631578947368),
    ("alpacaeval-length", 95, 0.5894736842105263), ("mt-bench-easy", 28, 0.5714285714285714),
    ("mt-bench-med", 40, 0.725), ("mt-bench-hard", 37, 0.5405405405405406),
    ("llmbar-natural", 100, 0.52), ("math-prm", 447, 0.2953020134228188),
    ("hep-cpp", 164, 0.6280487804878049), ("hep-go", 164, 0.6341463414634146),
    ("hep-java", 164, 0.7073170731707317), ("hep-js", 164, 0.6646341463414634),
    ("hep-python", 164, 0.5487804878048781), ("hep-rust", 164, 0.6463414634146342),
    ("refusals-dangerous", 100, 0.97),
  ]

  private var rows: [(subset: String, isRight: Double)] {
    Self.published.flatMap { item in
      let right = Int((item.accuracy * Double(item.count)).rounded())
      return (0..<item.count).map { (subset: item.name, isRight: $0 < right ? 1.0 : 0) }
    }
  }

  @Test func subsetsAndSections() throws {
    let figures = SubsetAccuracy.figures(rows)
    #expect(figures.subsets.map(\.name) == Self.published.map(\.name))
    for (found, expected) in zip(figures.subsets, Self.published) {
      #expect(abs(found.estimate.value - expected.accuracy) < 1e-12)
    }
    #expect(figures.sections.map(\.name) == ["chat", "chat-hard", "safety", "reasoning", "all"])
    // Rows weigh, and math-prm weighs 984 as the code subsets together, as RewardBench counts it.
    let chat = (50 + 67 + 56 + 16 + 29.0) / 358
    let code = Double(103 + 104 + 116 + 109 + 90 + 106) / 984
    let hard = (20 + 52.0) / 137
    let reasoning = (132.0 / 447 * 984 + code * 984) / 1968
    let expected = [chat, hard, 0.97, reasoning, (chat + hard + 0.97 + reasoning) / 4]
    for (found, expected) in zip(figures.sections, expected) {
      #expect(abs(found.value - expected) < 1e-12, "\(found.name)")
    }
  }

  @Test func otherSubsetsHaveNoSection() {
    let figures = SubsetAccuracy.figures([("mine", 1), ("mine", 0.5), ("other", 0)])
    #expect(figures.subsets.map(\.name) == ["mine", "other"])
    #expect(figures.subsets[0].estimate.value == 0.75 && figures.sections.isEmpty)
  }
}
