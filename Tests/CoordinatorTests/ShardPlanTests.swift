import Testing

@testable import Coordinator

@Suite struct ShardPlanTests {
  @Test(arguments: 1...9, [1, 2, 3, 4, 7, 20])
  func everyRowOnceAnEpoch(rowCount: Int, pairs: Int) {
    for shuffle in [true, false] {
      let plan = ShardPlan(
        mixture: EpochMixture(rowCount: rowCount), pairs: pairs, seed: 5, shuffle: shuffle)
      let steps = (4 * rowCount + pairs - 1) / pairs
      let order = (0..<steps).flatMap { plan.rows(step: $0) }
      #expect(order.count == steps * pairs)
      for epoch in 0..<4 {
        let rows = order[epoch * rowCount..<(epoch + 1) * rowCount]
        #expect(rows.sorted() == Array(0..<rowCount))
        if !shuffle { #expect(Array(rows) == Array(0..<rowCount)) }
      }
    }
  }

  @Test func theOrderDependsOnSeedAndEpochOnly() {
    func order(_ pairs: Int, seed: UInt64 = 1) -> [Int] {
      let plan = ShardPlan(
        mixture: EpochMixture(rowCount: 60), pairs: pairs, seed: seed, shuffle: true)
      return (0..<(120 / pairs)).flatMap { plan.rows(step: $0) }
    }
    #expect(order(8) == order(12) && order(8) == order(120))
    #expect(order(8) != order(8, seed: 2))
    #expect(order(60)[..<60] != order(60)[60...])
    #expect(order(60)[..<60] != (0..<60)[...].map { $0 }[...])
  }

  @Test func laterStepsNeedNoEarlierOnes() {
    let plan = ShardPlan(
      mixture: EpochMixture(rowCount: 9), pairs: 4, seed: 0, shuffle: true)
    #expect(plan.rows(step: 1_000_000_000).allSatisfy { $0 >= 0 && $0 < 9 })
    #expect(plan.epochs(steps: 9) == 4)
  }
}
