import Testing

@testable import Coordinator

@Suite struct EvaluationSplitTests {
  @Test(arguments: [
    (10, 0.0, 0), (10, 0.1, 1), (9993, 0.2, 1998), (10, 0.01, 1), (100, 0.29, 29), (2, 0.9, 1),
    (1, 0, 0),
  ])
  func sizes(rowCount: Int, fraction: Double, aside: Int) throws {
    let split = try EvaluationSplit(rowCount: rowCount, fraction: fraction, seed: 42, name: "a")
    #expect(split.evaluation.count == aside)
    #expect((split.train + split.evaluation).sorted() == Array(0..<rowCount))
    #expect(split.train == split.train.sorted() && split.evaluation == split.evaluation.sorted())
  }

  @Test func theSeedDecides() throws {
    let first = try EvaluationSplit(rowCount: 50, fraction: 0.5, seed: 1, name: "a")
    #expect(try first == EvaluationSplit(rowCount: 50, fraction: 0.5, seed: 1, name: "a"))
    #expect(try first != EvaluationSplit(rowCount: 50, fraction: 0.5, seed: 2, name: "a"))
  }

  @Test func aRowMustBeLeft() {
    #expect(throws: DataError.self) {
      try EvaluationSplit(rowCount: 1, fraction: 0.5, seed: 1, name: "a")
    }
    #expect(throws: DataError.self) {
      try EvaluationSplit(rowCount: 0, fraction: 0, seed: 1, name: "a")
    }
  }
}
