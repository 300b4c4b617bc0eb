import Glibc
import Tensor
import Testing

private let shapes = [
  (1, 1), (3, 2), (2, 7), (5, 8), (4, 9), (9, 37), (2, 2047), (2, 2048), (3, 2049), (2, 5000),
]

@Suite struct LogSoftmaxTests {
  private func statistics(
    _ compute: Compute, _ logits: TableHead, _ targets: [Int32]
  ) -> [TokenStatistics] {
    logits.sums(compute, targets: targets).prefix(logits.rows).map {
      $0.statistics(count: logits.tokens)
    }
  }

  @Test(arguments: Setting.all) func statisticsAreTheFormulas(_ setting: Setting) {
    let compute = setting.compute()
    for (rows, columns) in shapes {
      let logits = Table(rows: rows, columns: columns, seed: 90, deviation: 3)
      let targets = (0..<rows).map { Int32(($0 * 7 + columns - 1) % columns) }
      let operand = TableHead(logits)
      let found = statistics(compute, operand, targets)
      for row in 0..<rows {
        let line = Reference.row(logits, row)
        let logSum = Reference.logSumExp(line)
        let logs = line.map { $0 - logSum }
        let target = Int(targets[row])
        #expect(abs(found[row].logProbability - logs[target]) < 2e-6)
        #expect(abs(found[row].entropy + logs.reduce(0) { $0 + exp($1) * $1 }) < 5e-6)
        #expect(abs(found[row].meanLogit - line.reduce(0, +) / Double(columns)) < 2e-6)
        #expect(found[row].isMostLikely == (line[target] == line.max()))
      }
      #expect(operand.logits.values == logits.values, "logits are read only")
    }
  }

  /// Only differences of logits count, however large the logits are.
  @Test func largeLogitsNeitherOverflowNorVanish() {
    let compute = Compute(threadCount: 1)
    var logits = Table(rows: 3, columns: 11).filled(-1e30)
    for (row, shift) in [0.0, 1e4, -1e4].enumerated() {
      logits[row, 2] = shift
      logits[row, 9] = shift + 1
    }
    let operand = TableHead(logits)
    for (target, expected) in [(Int32(2), -log(1 + M_E)), (9, -log(1 + 1 / M_E))] {
      for found in statistics(compute, operand, [target, target, target]) {
        #expect(abs(found.logProbability - expected) < 1e-6)
        #expect(found.isMostLikely == (target == 9))
      }
    }
    for found in statistics(compute, operand, [0, 0, 0]) {
      #expect(found.logProbability < -1e29 && found.logProbability.isFinite)
    }
  }

  @Test(arguments: Setting.twoThreads) func backwardAgreesWithFiniteDifferences(_ setting: Setting)
  {
    let compute = setting.compute()
    for (rows, columns) in shapes where columns > 1 {
      let logits = Table(rows: rows, columns: columns, seed: 91, deviation: 2)
      let targets = (0..<rows).map { Int32(($0 * 5 + 1) % columns) }
      let coefficients = Table(rows: 1, columns: rows, seed: 92)
      let gradient = TableHead(logits).gradient(
        compute, targets: targets, coefficients: coefficients.values.map { Float($0) })
      expectGradient(gradient, at: logits, "\(rows) × \(columns)") { table in
        var total = 0.0
        for row in 0..<rows {
          let line = Reference.row(table, row)
          total +=
            coefficients[0, row] * (line[Int(targets[row])] - Reference.logSumExp(line))
        }
        return total
      }
    }
  }
}
