import Checkpoint
import Comm
import Model
import Tensor
import Worker

/// One training run on one rank: everything that lives from the first step to the last.
///
/// All ranks build the same value from the same files; what only rank 0 does (files, progress) asks
/// `isLeader`.
final class TrainingRun {
  let configuration: RunConfiguration
  let model: ModelFolder
  let train: TrainingData
  let evaluation: TrainingData?
  let plan: ShardPlan
  let stepCount: Int
  let memory: ModelMemory
  let worker: RankWorker
  let slices: [Range<Int>]
  let optimizer: OptimizerState
  /// This rank's slice of the gradient summed over groups.
  let accumulator: UnsafeMutableBufferPointer<Float>
  private let accumulatorBuffer: FloatBuffer?
  let oracle: Oracle?
  let rank: Int
  let rankCount: Int
  let folder: RunFolder
  let numberType: NumberType
  /// How the ranks compute.
  let arithmetic: AgreedArithmetic

  /// Steps that are done.
  var step = 0
  /// Tokens of completions trained on so far.
  var tokenCount = 0
  /// Mean V of the last step with online rows: the baseline `previous`, and the only one that a
  /// step with one such row has.
  var previousValue = -0.6931471805599453
  /// Steps in a row that were not applied because a number was not finite.
  var nonFiniteCount = 0
  /// Steps in a row in which the oracle failed on every row, and whether a failure was said.
  var failedOracleSteps = 0
  var hasReportedOracleFailure = false
  /// Completions generated for steps to come, by step; each step takes its own out.
  var pendingRollouts: [Int: [Rollout]] = [:]
  /// Tokens generated in the current step.
  var generatedTokens = 0
  /// The cache of the reference's log-probabilities, on rank 0 where the run file asks for one.
  let referenceCache: ReferenceCache?
  /// Reference log-probabilities of the evaluation pairs, which never change.
  var evaluationReference: [PairReference] = []
  var stopwatch = Stopwatch()
  /// Digests of the data and of the starting weights, on rank 0; a resumed run must find the same.
  let inputDigests: [(file: String, digest: String)]

  var isLeader: Bool { rank == 0 }

  /// Reads models and data and allocates; collective.
  init(
    configuration: RunConfiguration, folder: RunFolder, progress: ProgressLine,
    communicator: borrowing Communicator
  ) throws {
    self.configuration = configuration
    self.folder = folder
    rank = communicator.rank
    rankCount = communicator.size
    let sources = try communicator.agree { try RunSources(configuration) }
    model = sources.model
    let data = try RunData(
      configuration, model: model, progress: progress, communicator: communicator)
    train = data.train
    evaluation = data.evaluation
    let mixture = train.mixture
    stepCount = try communicator.agree {
      try configuration.stepCount(rows: mixture.positionCount)
    }
    numberType = sources.numberType
    let isLeader = communicator.rank == 0
    inputDigests = try communicator.agree { isLeader ? try sources.inputDigests(of: data) : [] }
    guard communicator.size <= configuration.batch.groups else {
      throw ConfigurationError(
        "\(communicator.size) ranks, but batch.groups is \(configuration.batch.groups): set "
          + "batch.groups ≥ ranks, or start fewer ranks")
    }
    plan = ShardPlan(
      mixture: mixture, pairs: configuration.batch.pairs, seed: configuration.seed,
      shuffle: configuration.data.shuffle)

    arithmetic = try AgreedArithmetic(
      threads: configuration.threads, precision: configuration.precision,
      communicator: communicator)
    let (compute, precision) = (arithmetic.compute, arithmetic.precision)
    try refuseTooLarge(
      configuration, sources: sources, rows: data.train, precision: precision,
      communicator: communicator)
    memory = try ModelMemory(
      policy: sources.policy,
      reference: sources.reference.map { ModelRequest("reference", frozen: $0) },
      others: sources.oracleModels, precision: precision, hasGradient: true,
      communicator: communicator)
    worker = RankWorker(policy: memory.policy, reference: memory.reference, compute: compute)
    referenceCache = try sources.referenceCache(
      digests: inputDigests, arithmetic: arithmetic, communicator: communicator)
    oracle = try sources.oracle(memory, compute: compute)
    slices = OptimizerState.slices(
      floatCount: memory.trained.count, rankCount: communicator.size)
    optimizer = OptimizerState(configuration.optimizer, slice: slices[communicator.rank])
    if communicator.size == 1 {
      // The backward adds group after group to this one gradient.
      accumulatorBuffer = nil
      accumulator = memory.gradient
    } else {
      let buffer = FloatBuffer(count: slices[communicator.rank].count)
      accumulatorBuffer = buffer
      accumulator = UnsafeMutableBufferPointer(start: buffer.base, count: buffer.count)
    }
    try limitMemory(communicator: communicator)
    try memory.fill(pool: compute.pool, communicator: communicator)
  }

  /// Floats of this rank's sum of gradients beside its gradient.
  var accumulatorCount: Int { accumulatorBuffer?.count ?? 0 }

  /// This rank's slice of what is trained.
  var trainedSlice: MasterWeights { memory.trained[optimizer.slice] }

  /// The tensors of what is trained.
  var trainedParameters: [Parameter] {
    memory.policy.adapter?.table.parameters ?? model.table.parameters
  }

  /// The result as a folder.
  var exportedFolder: ExportedFolder {
    let weights = FloatSource(memory.trained)
    guard let adapter = memory.policy.adapter else {
      return ExportedFolder(
        placements: model.placements, weights: weights, assets: model.assets)
    }
    return model.exportedAdapter(adapter.configuration, adapter.table, weights: weights)
  }

  /// Draws of the adapter's dropped inputs in the present step, nil where it drops none.
  var dropout: DropoutDraws? {
    guard let probability = memory.policy.adapter?.configuration.dropout, probability > 0 else {
      return nil
    }
    return DropoutDraws(probability: probability, seed: configuration.seed, step: step)
  }

  /// How a preference logit becomes a probability.
  var link: PreferenceLink {
    switch configuration.objective.link {
    case .logistic: .logistic
    case .probit: .probit
    }
  }

  /// Settings of the pair loss by route (SAIL.md §4).
  func objective(for route: Route) -> PairObjective {
    let settings = configuration.objective
    let sail = configuration.sail
    var objective = PairObjective(
      loss: settings.loss.pairLoss, beta: settings.beta, link: link,
      responseEstimator: sail.t1Estimator == .score
        ? .score : .released(scale: sail.releasedScale))
    switch route {
    case .offline:
      objective.labelSmoothing = settings.labelSmoothing
      objective.divergenceCoefficient = settings.revkl
    case .ddp:
      objective.preferenceCoefficient = sail.ddp.preferenceCoefficient
    case .dpp:
      objective.responseCoefficient = sail.dpp.responseCoefficient
      objective.preferenceCoefficient = sail.dpp.preferenceCoefficient
    case .dpr:
      objective.labelSmoothing = settings.labelSmoothing
      objective.responseCoefficient = sail.dpr.responseCoefficient
    }
    return objective
  }
}

extension RunConfiguration.Loss {
  /// The loss as the worker knows it.
  fileprivate var pairLoss: PreferenceLoss {
    switch self {
    case .sigmoid: .sigmoid
    case .ipo: .ipo
    case .ipoMean: .ipoMean
    case .hinge: .hinge
    }
  }
}

/// log π_ref of a pair's two responses.
struct PairReference: Sendable, BitwiseCopyable {
  var index: Int
  var first: Double
  var second: Double
}
