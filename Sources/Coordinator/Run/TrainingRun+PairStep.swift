import Comm
import Worker

extension TrainingRun {
  /// Computes the gradient of the next step of pairs; collective.
  ///
  /// - Returns: the planned number of pairs, which divides it.
  func pairStep(
    _ outcome: inout StepOutcome, communicator: borrowing Communicator, onPhase: (String) -> Void
  ) throws -> Int {
    let (rows, groups) = try preparedRows(communicator: communicator, onPhase: onPhase)
    outcome.generatedTokens = generatedTokens
    if isTermStep(outcome.step) {
      onPhase("terms")
      outcome.termNorms = try termNorms(rows, groups: groups, communicator: communicator)
    }
    onPhase("policy")
    outcome.pairs = try pairGradient(rows, groups: groups, communicator: communicator)
    outcome.trainedTokens = Int(outcome.pairs.reduce(0) { $0 + $1.tokens })
    outcome.rows = rows
    return configuration.batch.pairs
  }

  /// The next step's rows, generated, labelled and with reference and baselines; collective.
  ///
  /// - Returns: the rows and the work groups that they are cut into.
  func preparedRows(
    communicator: borrowing Communicator, onPhase: (String) -> Void
  ) throws -> (StepRows, groups: [[Int]]) {
    var rows = try plannedRows(step: step)
    try rollOut(&rows, number: step, communicator: communicator, onPhase: onPhase)
    let groups = WorkGroups.groups(
      lengths: rows.rows.map { row in
        row.family.completions.reduce(row.prompt.count) { $0 + $1.count }
      }, count: configuration.batch.groups)
    onPhase("reference")
    try completeRows(&rows, groups: groups, communicator: communicator)
    return (rows, groups)
  }

  /// Sums the gradient of a step's rows, or of some of its terms, into `accumulator`; collective.
  ///
  /// - Returns: the results of all rows, in row order.
  @discardableResult
  func pairGradient(
    _ rows: StepRows, groups: [[Int]], terms: GradientTerms = .all,
    communicator: borrowing Communicator
  ) throws -> [PairResult] {
    var own: [PairResult] = []
    try sumGroups(groups.count, communicator: communicator) { group, gradient, startsAtZero in
      own += worker.pairGradient(
        groups[group].map { rows.rows[$0] }, objective: objective(for:), terms: terms,
        reference: rows.references[group], dropout: dropout, addingTo: gradient,
        startsAtZero: startsAtZero)
    }
    return try communicator.allGather(own).joined().sorted { $0.index < $1.index }
  }
}
