import Comm
import Model
import Tensor
import Worker

/// The rows of one step, the same on every rank.
struct StepRows {
  var rows: [PairRow]
  /// Row of the data set behind each row.
  var data: [TokenRecord] = []
  /// Generated completions of online rows.
  var online: [Int: Rollout] = [:]
  /// The reference on this rank's groups, by group, where RevKL needs it.
  var references: [Int: ReferenceRows] = [:]

  /// Whether an oracle gave both responses of a row the same score.
  func isTie(_ index: Int) -> Bool {
    guard rows[index].route == .dpr, let scores = online[index]?.scores else { return false }
    return scores[0] == scores[1]
  }
}

extension TrainingRun {
  /// Rows of a step with their routes; online rows have no responses yet.
  ///
  /// - Throws: `DataError` if the token cache is damaged.
  func plannedRows(step: Int) throws -> StepRows {
    let records = try plan.rows(step: step).map { try train.record($0) }
    let routes = KeyedRandom(seed: configuration.seed, purpose: .route)
    let labels = KeyedRandom(seed: configuration.seed, purpose: .label)
    let sail = configuration.sail
    let rows = records.enumerated().map { position, data in
      let route =
        configuration.method == .sail
        ? Route.route(
          uniform: routes.uniform(step: step, row: position), ddp: sail.ddp.fraction,
          dpp: sail.dpp.fraction, dpr: sail.dpr.fraction) : .offline
      func selfLabel(_ kind: RunConfiguration.SelfLabels) -> PairLabel {
        switch kind {
        case .expected: .expected
        case .sample: .sampled(uniform: labels.uniform(step: step, row: position))
        case .argmax: .mostLikely
        }
      }
      let label: PairLabel =
        switch route {
        case .offline, .dpr: .given(firstIsBetter: 1)
        case .ddp: selfLabel(sail.ddp.labels)
        case .dpp: selfLabel(sail.dpp.labels)
        }
      return PairRow(
        index: position, route: route, prompt: data.prompt, first: data.chosen,
        second: data.rejected, label: label)
    }
    return StepRows(rows: rows, data: records)
  }

  /// Sets the reference log-probabilities of all rows, and the baselines; collective.
  func completeRows(
    _ step: inout StepRows, groups: [[Int]], communicator: borrowing Communicator
  ) throws {
    var rows = step.rows
    var references: [Int: ReferenceRows] = [:]
    // RevKL compares whole distributions: its groups go through the reference in any case.
    func needsReference(_ group: Int) -> Bool {
      configuration.objective.revkl > 0
        && groups[group].contains { step.rows[$0].route == .offline && !step.rows[$0].isDropped }
    }
    try setReferences(
      of: &rows, batches: groups, isCached: { !needsReference($0) }, communicator: communicator
    ) { group, rows in
      let families = rows.map(\.family)
      guard needsReference(group) else { return worker.referenceLogProbabilities(of: families) }
      let forward = worker.referenceForward(of: families)
      references[group] = forward.rows
      return forward.sums
    }
    step.rows = rows
    step.references = references
    setBaselines(&step)
  }

  /// Baselines from decode-time log-probabilities, the same on every rank (SAIL.md §5.3).
  private func setBaselines(_ step: inout StepRows) {
    let online = step.rows.indices.filter {
      step.rows[$0].route.isOnline && !step.rows[$0].isDropped
    }
    if online.isEmpty { return }
    let values = online.map { index in
      let row = step.rows[index]
      let completions = step.online[index]?.completions
      let logs = PairLogs(
        first: completions?[0].logProbability ?? 0, second: completions?[1].logProbability ?? 0,
        referenceFirst: row.referenceFirst, referenceSecond: row.referenceSecond,
        firstCount: row.first.count, secondCount: row.second.count)
      return decodeTimeValue(logs, label: row.label, objective: objective(for: row.route))
    }
    // The released estimator has none.
    let kind = configuration.sail.t1Estimator == .released ? .none : configuration.sail.baseline
    let baselines: [Double] =
      switch kind {
      case .leaveOneOut: leaveOneOutBaselines(values: values, fallback: previousValue)
      case .previous: values.map { _ in previousValue }
      case .none: values.map { _ in 0 }
      }
    for (index, baseline) in zip(online, baselines) { step.rows[index].baseline = baseline }
    let mean = values.reduce(0, +) / Double(values.count)
    // A step that is not finite is left out and leaves nothing behind.
    if mean.isFinite { previousValue = mean }
  }
}
