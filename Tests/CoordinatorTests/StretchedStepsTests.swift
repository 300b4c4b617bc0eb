import Testing

@testable import Coordinator

@Suite struct StretchedStepsTests {
  @Test(arguments: [
    (1.0, 9, 4, 0.0, 3), (1, 8, 4, 0, 2), (2, 9, 4, 0, 5), (1, 70, 10, 0.3, 10),
    (1, 1000, 10, 0.9, 1000), (1, 100, 10, 1, 10), (1, 100, 10, 0.1 + 0.2 + 0.7, 10),
    (0.001, 10, 4, 0, 1), (1.5, 10, 4, 0.5, 8), (5, 7995, 32, 0.3, 1785),
  ])
  func steps(
    epochs: Double, rows: Int, pairs: Int, fractions: Double, expected: Int
  ) throws {
    #expect(
      try RunConfiguration.stretchedSteps(
        epochs: epochs, rows: rows, pairs: pairs, fractions: fractions) == expected)
  }

  @Test func tooManyStepsAreRefused() {
    #expect(throws: ConfigurationError.self) {
      try RunConfiguration.stretchedSteps(
        epochs: 1e6, rows: 1_000_000_000, pairs: 1, fractions: 1 - 2e-9)
    }
  }

  @Test func stepCounts() throws {
    #expect(try RunFileText.read().stepCount(rows: 3) == 10)
    let epochs = try RunFileText.read(
      RunFileText.least, "method=sail", "sail.dpp.fraction=0.5", "steps=", "epochs=1",
      "batch={pairs: 10, groups: 2}")
    #expect(try epochs.stepCount(rows: 100) == 20)
  }
}
