import Testing

@testable import Coordinator

@Suite struct EpochMixtureTests {
  private func epoch(_ mixture: EpochMixture, _ epoch: Int) -> [Int] {
    (0..<mixture.positionCount).map { mixture.row(position: $0, epoch: epoch) }
  }

  @Test func wholeWeightsRepeatRowsInEveryEpoch() {
    let mixture = EpochMixture([(rows: 3, weight: 1), (rows: 2, weight: 2), (rows: 0, weight: 1)])
    for number in [0, 1, 7] {
      #expect(epoch(mixture, number) == [0, 1, 2, 3, 4, 3, 4])
    }
  }

  /// Over as many epochs as a file has rows, each of its rows comes equally often.
  @Test(arguments: 1...12, [0.1, 0.25, 0.5, 0.7, 1.5, 2.4])
  func partsOfAFileTakeTurns(rows: Int, weight: Double) {
    let mixture = EpochMixture([(rows: 5, weight: 1), (rows: rows, weight: weight)])
    let positions = max(1, Int((weight * Double(rows)).rounded()))
    #expect(mixture.positionCount == 5 + positions)
    var counts = [Int](repeating: 0, count: rows)
    for number in 0..<rows {
      let order = epoch(mixture, number)
      #expect(Array(order[..<5]) == Array(0..<5))
      var own = [Int](repeating: 0, count: rows)
      for row in order[5...] { own[row - 5] += 1 }
      // Within an epoch, none comes twice more often than another.
      #expect((own.max() ?? 0) - (own.min() ?? 0) <= 1)
      for row in 0..<rows { counts[row] += own[row] }
    }
    #expect(counts.allSatisfy { $0 == positions })
  }

  @Test func aPartIsSpreadOverTheFile() {
    let mixture = EpochMixture([(rows: 1000, weight: 0.01)])
    let rows = epoch(mixture, 0).sorted()
    #expect(rows.count == 10)
    for (first, second) in zip(rows, rows.dropFirst()) { #expect(second - first < 250) }
  }

  @Test func lateEpochsOfLargeFiles() {
    let mixture = EpochMixture([(rows: 3_000_000_019, weight: 0.7)])
    let row = mixture.row(position: mixture.positionCount - 1, epoch: 1_000_000_000)
    #expect(row >= 0 && row < 3_000_000_019)
  }

  @Test func thePlanFollowsTheWeights() {
    let plan = ShardPlan(
      mixture: EpochMixture([(rows: 2, weight: 3), (rows: 4, weight: 0.5)]), pairs: 4, seed: 9,
      shuffle: true)
    let two = (0..<4).flatMap { plan.rows(step: $0) }
    #expect([0, 1].map { row in two.count { $0 == row } } == [6, 6])
    #expect(two.filter { $0 >= 2 }.sorted() == [2, 3, 4, 5])
    #expect(plan.epochs(steps: 4) == 2)
  }
}
