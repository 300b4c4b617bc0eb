import Comm
import Glibc
import Tensor
import Worker

/// The slope of one term of a step's loss along one direction, found in two ways.
struct SlopeComparison {
  /// Name of the term, or "all".
  var term: String
  /// "gradient" or "random".
  var direction: String
  /// Norm of the term's gradient.
  var norm: Double
  /// ⟨gradient, direction⟩, from the backward.
  var analytic: Double
  /// The slope from differences of the forward.
  var difference: Double
  /// What a slope along such a direction is in size: the norm along the gradient itself, the standard
  /// deviation over random directions.
  var scale: Double

  /// The two slopes' distance in the size of such a slope; 0 where there is no gradient at all.
  var relative: Double { scale > 0 ? abs(analytic - difference) / scale : abs(difference) }
}

/// Holds a step's gradient, term by term, against finite differences of its loss.
///
/// What the loss stops the gradient of stays as it is at the start: drawn labels, baselines,
/// importance weights and the score that T1 weighs log-probabilities with.
struct GradientCheck {
  private let run: TrainingRun
  private let rows: StepRows
  private let groups: [[Int]]
  /// Results and losses at the start.
  private let start: [PairResult]
  private let frozen: [PairLoss]
  /// This rank's slice of the weights at the start, and the direction in it.
  private let weights: FloatBuffer
  private let direction: FloatBuffer

  /// The largest changes that differences are taken over: of a response's log-probability, and of a
  /// row's divergence, which near its minimum 0 is curved sooner.
  private static let largestChange = (logProbability: 0.4, divergence: 0.02)

  /// Prepares the rows of the run's next step at its present weights; collective.
  init(
    _ run: TrainingRun, communicator: borrowing Communicator, onPhase: (String) -> Void
  ) throws {
    self.run = run
    (rows, groups) = try run.preparedRows(communicator: communicator, onPhase: onPhase)
    let slice = run.optimizer.slice
    weights = FloatBuffer(count: slice.count)
    run.trainedSlice.read(0..<slice.count, into: weights.base)
    direction = FloatBuffer(count: slice.count)
    start = try GradientCheck.results(run, rows, groups, communicator: communicator)
    let planned = rows
    frozen = start.map { result in
      let row = planned.rows[result.index]
      return pairLoss(
        GradientCheck.logs(result, row), label: row.label, baseline: row.baseline,
        weight: result.weight, objective: run.objective(for: row.route))
    }
  }

  /// How many kept rows each route has.
  var routeCounts: [(route: Route, count: Int)] {
    Route.allCases.map { route in
      (route, rows.rows.filter { $0.route == route && !$0.isDropped }.count)
    }.filter { $0.count > 0 }
  }

  /// Names of the terms that the rows have, and "all" if there are several.
  var terms: [(name: String, term: GradientTerms)] {
    let active = run.activeTerms(rows)
    let named = GradientTerms.named.filter { active.contains($0.term) }
    return named.count > 1 ? named + [("all", .all)] : named
  }

  /// Compares a term's slope along its gradient and along a random direction; collective.
  func compare(
    _ name: String, _ term: GradientTerms, communicator: borrowing Communicator
  ) throws -> [SlopeComparison] {
    try run.pairGradient(rows, groups: groups, terms: term, communicator: communicator)
    let count = Double(rows.rows.count)
    let norm = try run.accumulatedNorm(communicator: communicator)
    var result: [SlopeComparison] = []
    for (kind, fill) in [("gradient", fillGradient), ("random", fillRandom)] {
      let scale = fill(norm)
      let analytic = try sum(communicator: communicator) { Double($0) * Double($1) } / count
      let squares = try sum(communicator: communicator) {
        let part = Double($0) * Double($1)
        return part * part
      }
      let difference =
        norm == 0 ? 0 : try self.difference(term, communicator: communicator) / count
      result.append(
        SlopeComparison(
          term: name, direction: kind, norm: norm / count, analytic: analytic,
          difference: difference, scale: (scale ?? squares.squareRoot()) / count))
    }
    return result
  }

  /// The unit vector along the gradient; its slope is the norm.
  private func fillGradient(_ norm: Double) -> Double? {
    let factor = norm > 0 ? Float(1 / norm) : 0
    for index in 0..<direction.count {
      direction.base[index] = run.accumulator[index] * factor
    }
    return norm
  }

  /// Each weight by a normal number times the root mean square of its tensor.
  private func fillRandom(_: Double) -> Double? {
    run.fillRelativeNormal(direction, key: 1)
    return nil
  }

  /// Slope of a term's summed loss along `direction`, by central differences of fourth order.
  private func difference(
    _ term: GradientTerms, communicator: borrowing Communicator
  ) throws -> Double {
    func loss(_ step: Double) throws -> Double {
      let results = try moved(by: step, communicator: communicator)
      return zip(results, frozen).reduce(0) { $0 + self.loss(term, $1.0, $1.1) }
    }
    // In parts of what is allowed.
    func change(_ step: Double) throws -> Double {
      let results = try moved(by: step, communicator: communicator)
      let limit = Self.largestChange
      return zip(results, start).reduce(0) {
        max(
          $0, abs($1.0.first - $1.1.first) / limit.logProbability,
          abs($1.0.second - $1.1.second) / limit.logProbability,
          abs($1.0.divergence - $1.1.divergence) / limit.divergence)
      }
    }
    // The longest step within bounds: rounding is least where the loss moves most.
    let size = try sum(communicator: communicator) { _, direction in
      Double(direction) * Double(direction)
    }.squareRoot()
    let length = try weightNorm(communicator: communicator)
    let trial = 1e-4 * length / size
    var reach = trial * min(100, 1 / max(try change(trial), 1e-12))
    for _ in 0..<8 where try change(reach) > 1.5 { reach /= 2 }
    let step = reach / 2
    let near = (try loss(step) - loss(-step)) / (2 * step)
    let far = (try loss(2 * step) - loss(-2 * step)) / (4 * step)
    return (4 * near - far) / 3
  }

  /// A term of a row at moved weights, with everything without a gradient as at the start.
  private func loss(_ term: GradientTerms, _ result: PairResult, _ frozen: PairLoss) -> Double {
    let row = rows.rows[result.index]
    if row.isDropped { return 0 }
    let objective = run.objective(for: row.route)
    let logs = GradientCheck.logs(result, row)
    let moved = pairLoss(
      logs, label: row.label.frozen(frozen.isFirstChosen), baseline: row.baseline,
      weight: start[result.index].weight, objective: objective)
    var sum = 0.0
    if term.contains(.t1) {
      sum += start[result.index].weight * responseTerm(logs, row, frozen, objective)
    }
    // A tie has no gradient, but a kink.
    let isTie = row.label == .mostLikely && frozen.isFirstChosen == nil
    if term.contains(.t2), !isTie { sum += moved.t2.loss }
    if term.contains(.t3) { sum += moved.t3.loss }
    if term.contains(.revkl) { sum += objective.divergenceCoefficient * result.divergence }
    return sum
  }

  /// T1 of a row, written out here from the row's value at the start (SAIL.md §3, §6).
  private func responseTerm(
    _ logs: PairLogs, _ row: PairRow, _ frozen: PairLoss, _ objective: PairObjective
  ) -> Double {
    let coefficient = objective.responseCoefficient
    guard row.route.isOnline else { return 0 }
    switch objective.responseEstimator {
    case .score:
      return -coefficient * (frozen.value - row.baseline) * (logs.first + logs.second)
    case .released(let scale):
      let before = start[row.index]
      let ratios = logs.first / min(before.first, -1) + logs.second / min(before.second, -1)
      return -coefficient * scale * frozen.value * ratios
    }
  }

  /// The rows' results at weights moved along `direction`; the weights come back after it.
  private func moved(
    by step: Double, communicator: borrowing Communicator
  ) throws -> [PairResult] {
    let target = run.trainedSlice
    run.worker.compute.displace(target, by: Float(step), along: direction.base)
    try run.publishWeights()
    let results = try GradientCheck.results(run, rows, groups, communicator: communicator)
    target.write(weights.base, to: 0..<weights.count)
    try run.publishWeights()
    return results
  }

  private func weightNorm(communicator: borrowing Communicator) throws -> Double {
    try communicator.allGather(
      run.worker.compute.squaredNorms(weights.base, count: weights.count)
    ).joined().reduce(0, +).squareRoot()
  }

  /// Sum over all weights of a product of gradient and direction; blocks in order.
  private func sum(
    communicator: borrowing Communicator, _ product: (Float, Float) -> Double
  ) throws -> Double {
    let block = Compute.normBlock
    let sums = stride(from: 0, to: direction.count, by: block).map { first in
      (first..<min(direction.count, first + block)).reduce(0.0) {
        $0 + product(run.accumulator[$1], direction.base[$1])
      }
    }
    return try communicator.allGather(sums).joined().reduce(0, +)
  }

  private static func results(
    _ run: TrainingRun, _ rows: StepRows, _ groups: [[Int]], communicator: borrowing Communicator
  ) throws -> [PairResult] {
    var own: [PairResult] = []
    for group in stride(from: run.rank, to: groups.count, by: run.rankCount) {
      own += run.worker.pairGradient(
        groups[group].map { rows.rows[$0] }, objective: run.objective(for:),
        reference: rows.references[group], dropout: run.dropout, addingTo: nil)
    }
    return try communicator.allGather(own).joined().sorted { $0.index < $1.index }
  }

  private static func logs(_ result: PairResult, _ row: PairRow) -> PairLogs {
    PairLogs(
      first: result.first, second: result.second, referenceFirst: row.referenceFirst,
      referenceSecond: row.referenceSecond, firstCount: max(1, row.first.count),
      secondCount: max(1, row.second.count))
  }
}

extension PairLabel {
  /// The label with its draw or its likelier order as it was.
  fileprivate func frozen(_ isFirstChosen: Bool?) -> PairLabel {
    switch (self, isFirstChosen) {
    case (.sampled, let isFirst?): .sampled(uniform: isFirst ? 0 : 1)
    case (.mostLikely, let isFirst?): .given(firstIsBetter: isFirst ? 1 : 0)
    default: self
    }
  }
}
