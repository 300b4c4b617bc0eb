import Glibc
import Model
import Tensor
import Testing

@testable import Worker

private let everyKind: [(Route, PairLabel)] = [
  (.offline, .given(firstIsBetter: 1)), (.ddp, .expected), (.dpp, .expected),
  (.dpr, .given(firstIsBetter: 0)), (.dpp, .sampled(uniform: 0.2)),
  (.dpp, .sampled(uniform: 0.97)), (.dpr, .given(firstIsBetter: 0.5)), (.dpp, .mostLikely),
]

private func settings(_ route: Route) -> PairObjective {
  switch route {
  case .offline: PairObjective(beta: 0.3)
  case .ddp: PairObjective(beta: 0.3, preferenceCoefficient: 0.7)
  case .dpp: PairObjective(beta: 0.3, responseCoefficient: 0.2, preferenceCoefficient: 0.5)
  case .dpr: PairObjective(beta: 0.3, responseCoefficient: 0.25)
  }
}

struct RankWorkerTests {
  @Test(
    "Gradient along random directions against finite differences",
    arguments: [
      [everyKind[0]], [everyKind[1]], [everyKind[2]], [everyKind[3]], [everyKind[4]],
      [everyKind[5]], [everyKind[6]], [everyKind[7]], everyKind,
    ])
  func theGradientIsTheSlope(_ kinds: [(Route, PairLabel)]) throws {
    let tiny = try TinyWorker()
    let rows = tiny.rows(kinds)
    let (results, gradient) = tiny.gradient([rows], settings)
    // The likelier order has a kink at u = 0, which no step may cross.
    for (row, result) in zip(rows, results) where row.label == .mostLikely {
      #expect(abs(result.u) > 0.2)
    }
    // What is stopped in the formula is frozen here: the drawn label, and V − b.
    var frozenRows = rows
    for index in rows.indices {
      if case .sampled = rows[index].label {
        frozenRows[index].label = results[index].chosen == 1 ? .drawnFirst : .drawnSecond
      }
    }
    func loss() -> Double {
      let now = tiny.worker.pairGradient(
        frozenRows,
        objective: {
          PairObjective(beta: 0.3, preferenceCoefficient: settings($0).preferenceCoefficient)
        }, addingTo: nil)
      return zip(rows, zip(results, now)).reduce(0) { sum, row in
        let (frozen, now) = row.1
        let weight = settings(row.0.route).responseCoefficient * (frozen.value - row.0.baseline)
        return sum + now.loss - weight * (now.first + now.second)
      } / Double(rows.count)
    }
    let total = results.reduce(0) { $0 + $1.loss } / Double(rows.count)
    #expect(abs(total - loss()) < 1e-9)
    for number in 0..<4 {
      let direction = tiny.direction(number)
      let expected = tiny.slope(along: direction, loss)
      let found =
        zip(gradient, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        / Double(rows.count)
      let length =
        gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot() / Double(rows.count)
      #expect(abs(found - expected) < 2e-5 * length, "found \(found), expected \(expected)")
    }
  }

  @Test func droppedRowsContributeNothing() throws {
    let tiny = try TinyWorker()
    let rows = tiny.rows(everyKind)
    var dropped = rows[1]
    dropped.isDropped = true
    dropped.index = 100
    var empty = PairRow(
      index: 101, route: .dpr, prompt: [3], first: [], second: [4], label: .expected)
    empty.baseline = 5
    let mixed = [dropped, rows[0], rows[2], empty, rows[3], dropped]
    let (with, gradientWith) = tiny.gradient([mixed], settings)
    let (without, gradientWithout) = tiny.gradient([[rows[0], rows[2], rows[3]]], settings)
    #expect(gradientWith == gradientWithout)
    #expect(with.map(\.index) == [100, 0, 2, 101, 3, 100])
    #expect([with[1], with[2], with[4]].map(fields) == without.map(fields))
    for index in [0, 3, 5] {
      #expect(fields(with[index]) == fields(PairResult(index: with[index].index, dropped: 1)))
    }
    let (none, nothing) = tiny.gradient([[dropped, empty], []], settings)
    #expect(none.count == 2 && nothing.allSatisfy { $0 == 0 })
  }

  /// Where nothing is added to a gradient that counts as zero, it becomes zero.
  @Test func nothingAddedToZero() throws {
    let tiny = try TinyWorker()
    var dropped = tiny.rows(everyKind)[1]
    dropped.isDropped = true
    let buffer = FloatBuffer(count: tiny.table.floatCount)
    func expectZero(_ add: () -> Void) {
      for index in 0..<buffer.count { buffer.base[index] = .nan }
      add()
      #expect((0..<buffer.count).allSatisfy { buffer.base[$0] == 0 })
    }
    expectZero {
      _ = tiny.worker.pairGradient(
        [dropped], objective: settings, addingTo: buffer.base, startsAtZero: true)
    }
    expectZero {
      _ = tiny.worker.completionGradient([], addingTo: buffer.base, startsAtZero: true)
    }
    expectZero {
      _ = tiny.worker.rewardGradient([], addingTo: buffer.base, startsAtZero: true)
    }
  }

  @Test(arguments: [true, false])
  func aSecondGroupIsAddedInEveryBit(usesOneDNN: Bool) throws {
    let tiny = try TinyWorker(usesOneDNN: usesOneDNN)
    let rows = tiny.rows(everyKind)
    let one = Array(rows[..<3])
    let two = Array(rows[3...])
    let (_, first) = tiny.gradient([one], settings)
    let (_, second) = tiny.gradient([two], settings)
    let (_, both) = tiny.gradient([one, two], settings)
    #expect(first.contains { $0 != 0 } && second.contains { $0 != 0 })
    #expect(both == zip(first, second).map { $0 + $1 })
    let (_, twice) = tiny.gradient([one, one], settings)
    #expect(twice == first.map { 2 * $0 })
  }

  @Test func withoutAGradientTheResultsAreTheSame() throws {
    let tiny = try TinyWorker()
    let rows = tiny.rows(everyKind)
    let (with, _) = tiny.gradient([rows], settings)
    let without = tiny.worker.pairGradient(rows, objective: settings, addingTo: nil)
    #expect(with.map(fields) == without.map(fields))
    // And those of rows alone, of two threads, and of the log-probabilities by themselves.
    let alone = rows.flatMap {
      tiny.worker.pairGradient([$0], objective: settings, addingTo: nil)
    }
    #expect(alone.map(fields) == with.map(fields))
    let threads = try TinyWorker(threadCount: 2)
    let (other, gradient) = threads.gradient([rows], settings)
    #expect(other.map(fields) == with.map(fields))
    #expect(gradient == tiny.gradient([rows], settings).gradient)
    let families = rows.map { PromptFamily(prompt: $0.prompt, completions: [$0.first, $0.second]) }
    #expect(
      tiny.worker.logProbabilities(of: families) == with.map { [$0.first, $0.second] })
  }

  @Test func resultsSayWhatTheForwardAndTheLossSay() throws {
    let tiny = try TinyWorker()
    let rows = tiny.rows(everyKind)
    let results = tiny.worker.pairGradient(rows, objective: settings, addingTo: nil)
    for (row, result) in zip(rows, results) {
      let objective = settings(row.route)
      let u =
        0.3 * (result.first - row.referenceFirst - (result.second - row.referenceSecond))
      #expect(abs(result.u - u) < 1e-12)
      let loss = pairLoss(
        PairLogs(
          first: result.first, second: result.second, referenceFirst: row.referenceFirst,
          referenceSecond: row.referenceSecond), label: row.label, baseline: row.baseline,
        objective: objective)
      #expect(result.loss == loss.loss && result.value == loss.value)
      #expect(result.chosen == (loss.isFirstChosen.map { $0 ? 1 : 0 } ?? 0.5))
      #expect(result.tokens == Double(row.first.count + row.second.count))
      #expect(result.correctTokens >= 0 && result.correctTokens <= result.tokens)
      #expect(result.entropy > 0 && result.entropy <= result.tokens * log(23))
      #expect(result.first < 0 && result.second < 0 && result.dropped == 0)
    }
  }

  @Test func withoutAReferenceThePolicyIsIt() throws {
    let tiny = try TinyWorker(hasReference: false)
    let rows = tiny.rows([everyKind[0], everyKind[2]])
    let results = tiny.worker.pairGradient(rows, objective: settings, addingTo: nil)
    #expect(results.allSatisfy { $0.u == 0 })
    #expect(abs(results[0].loss - 0.6931471805599453) < 1e-15)
    #expect(tiny.worker.logProbabilities(of: []).isEmpty)
  }

  @Test func theGradientOfCompletionsIsTheSlope() throws {
    let tiny = try TinyWorker()
    let rows = tiny.rows(everyKind).map {
      (index: $0.index, prompt: $0.prompt, completion: $0.first)
    }
    let buffer = FloatBuffer(count: tiny.table.floatCount)
    let results = tiny.worker.completionGradient(rows, addingTo: buffer.base)
    func loss() -> Double {
      tiny.worker.completionGradient(rows, addingTo: nil).reduce(0) { $0 - $1.logProbability }
    }
    #expect(results.reduce(0) { $0 - $1.logProbability } == loss())
    #expect(results.map(\.tokens) == rows.map { Double($0.completion.count) })
    let gradient = Array(UnsafeBufferPointer(start: buffer.base, count: buffer.count))
    let length = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    for number in 0..<4 {
      let direction = tiny.direction(number)
      let expected = tiny.slope(along: direction, loss)
      let found = zip(gradient, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      #expect(abs(found - expected) < 2e-5 * length, "found \(found), expected \(expected)")
    }
  }

  /// Every field of a result.
  private func fields(_ result: PairResult) -> [Double] {
    [
      Double(result.index), result.loss, result.u, result.value, result.chosen, result.first,
      result.second, result.firstLogits, result.secondLogits, result.firstTokens, result.entropy,
      result.correctTokens,
      result.tokens, result.weight, result.divergence, result.dropped,
    ]
  }
}
