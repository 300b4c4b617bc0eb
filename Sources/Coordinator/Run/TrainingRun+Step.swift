import Comm
import Model
import Tensor
import Worker

/// What one step came to, the same on every rank.
struct StepOutcome {
  /// Number of the step, from 1.
  var step: Int
  var pairs: [PairResult] = []
  var completions: [CompletionResult] = []
  var rewards: [RewardResult] = []
  var rows = StepRows(rows: [])
  /// Norm of each term's mean gradient by name, where it was measured.
  var termNorms: [(name: String, norm: Double)] = []
  /// Norm of the mean gradient before clipping.
  var gradientNorm = 0.0
  var learningRate = 0.0
  /// Completion tokens trained on, and tokens generated.
  var trainedTokens = 0
  var generatedTokens = 0
  /// Whether the update was applied: not if the loss or the gradient is not finite.
  var isApplied = true
  /// Seconds by phase, the slowest rank's; and the step's wall time.
  var seconds: [Double] = []
  var wallSeconds = 0.0
  /// Largest memory of a rank so far, in bytes.
  var memoryBytes = 0.0
  /// Whether any rank was asked to stop.
  var isStopRequested = false
}

extension TrainingRun {
  /// Runs the next step; collective.
  ///
  /// - Parameters:
  ///   - communicator: all ranks.
  ///   - onPhase: says what the step is doing, for the progress line.
  /// - Returns: what the step came to.
  /// - Throws: an error of MPI or of the oracle.
  func runStep(
    communicator: borrowing Communicator, onPhase: (String) -> Void
  ) throws -> StepOutcome {
    stopwatch.reset()
    let start = Stopwatch.now
    generatedTokens = 0
    var outcome = StepOutcome(step: step + 1)
    let divisor: Int
    switch configuration.method {
    case .sft:
      divisor = try completionStep(&outcome, communicator: communicator, onPhase: onPhase)
    case .reward:
      divisor = try rewardStep(&outcome, communicator: communicator, onPhase: onPhase)
    case .dpo, .sail:
      divisor = try pairStep(&outcome, communicator: communicator, onPhase: onPhase)
    }
    onPhase("update")
    try update(&outcome, divisor: divisor, communicator: communicator)
    step += 1
    tokenCount += outcome.trainedTokens
    outcome.wallSeconds = Stopwatch.now - start
    try gatherTimes(&outcome, communicator: communicator)
    return outcome
  }

  private func completionStep(
    _ outcome: inout StepOutcome, communicator: borrowing Communicator, onPhase: (String) -> Void
  ) throws -> Int {
    outcome.rows.data = try plan.rows(step: step).map { try train.record($0) }
    let rows = outcome.rows.data.enumerated().map { position, record in
      (index: position, prompt: record.prompt, completion: record.chosen)
    }
    outcome.trainedTokens = rows.reduce(0) { $0 + $1.completion.count }
    let groups = WorkGroups.groups(
      lengths: rows.map { $0.prompt.count + $0.completion.count },
      count: configuration.batch.groups)
    onPhase("policy")
    var own: [CompletionResult] = []
    try sumGroups(groups.count, communicator: communicator) { group, gradient, startsAtZero in
      own += worker.completionGradient(
        groups[group].map { rows[$0] }, dropout: dropout, addingTo: gradient,
        startsAtZero: startsAtZero)
    }
    let all = try communicator.allGather(own)
    outcome.completions = all.joined().sorted { $0.index < $1.index }
    return outcome.trainedTokens
  }

  /// Norm of the gradient in `accumulator`, before any division; collective.
  func accumulatedNorm(communicator: borrowing Communicator) throws -> Double {
    let norms = stopwatch.measure(.optimizer) {
      accumulator.baseAddress.map {
        worker.compute.squaredNorms($0, count: accumulator.count)
      } ?? []
    }
    return try communicator.allGather(norms).joined().reduce(0, +).squareRoot()
  }

  /// Computes the groups in waves, group g on rank g mod R, and sums their gradients in group order.
  ///
  /// One rank adds group after group to one gradient; several compute theirs apart and add them in
  /// the same order: the same bits.
  /// - Parameters:
  ///   - count: number of groups.
  ///   - communicator: all ranks.
  ///   - compute: adds a group's gradient to one, which may count as zero, whatever it holds.
  /// - Throws: an error of MPI.
  func sumGroups(
    _ count: Int, communicator: borrowing Communicator,
    _ compute:
      (_ group: Int, _ gradient: UnsafeMutablePointer<Float>, _ startsAtZero: Bool) -> Void
  ) throws {
    guard let base = memory.gradient.baseAddress else { return }
    if rankCount > 1 || count == 0 {
      stopwatch.measure(.policy) { worker.compute.zero(accumulator) }
    }
    for first in stride(from: 0, to: count, by: rankCount) {
      let wave = first..<min(count, first + rankCount)
      stopwatch.measure(.policy) {
        if first + rank < wave.upperBound {
          compute(first + rank, base, rankCount > 1 || first == 0)
        }
      }
      if rankCount == 1 { continue }
      try stopwatch.measure(.wait) { try communicator.barrier() }
      try stopwatch.measure(.reduce) {
        try memory.memory.orderedSum(
          gradient: memory.gradientArray, slices: slices,
          contributors: wave.map { $0 - first }, into: accumulator)
      }
    }
  }

  /// Divides, checks, clips and applies; collective.
  private func update(
    _ outcome: inout StepOutcome, divisor: Int, communicator: borrowing Communicator
  ) throws {
    let compute = worker.compute
    outcome.gradientNorm =
      try accumulatedNorm(communicator: communicator) / Double(divisor)
    outcome.learningRate = configuration.optimizer.learningRate(
      step: step, stepCount: stepCount)
    let loss =
      outcome.pairs.reduce(0) { $0 + $1.loss } + outcome.rewards.reduce(0) { $0 + $1.loss }
      + outcome.completions.reduce(0) { $0 + $1.logProbability }
    outcome.isApplied = outcome.gradientNorm.isFinite && loss.isFinite
    guard outcome.isApplied else {
      nonFiniteCount += 1
      return
    }
    nonFiniteCount = 0
    let clip = configuration.optimizer.clip
    let factor = clip > 0 ? min(1, clip / (outcome.gradientNorm + 1e-6)) : 1
    stopwatch.measure(.optimizer) {
      if let gradient = accumulator.baseAddress {
        optimizer.update(
          weights: trainedSlice, gradient: gradient,
          scale: Float(factor / Double(divisor)), learningRate: outcome.learningRate,
          compute: compute)
      }
    }
    try stopwatch.measure(.reduce) { try publishWeights() }
  }

  private func gatherTimes(
    _ outcome: inout StepOutcome, communicator: borrowing Communicator
  ) throws {
    let own =
      stopwatch.seconds + [
        outcome.wallSeconds, peakMemoryBytes(), isStopRequested() ? 1 : 0,
      ]
    let all = try communicator.allGather(own)
    let largest = own.indices.map { index in all.map { $0[index] }.max() ?? 0 }
    outcome.seconds = Array(largest.dropLast(3))
    outcome.wallSeconds = largest[own.count - 3]
    outcome.memoryBytes = largest[own.count - 2]
    outcome.isStopRequested = largest[own.count - 1] > 0
  }
}
