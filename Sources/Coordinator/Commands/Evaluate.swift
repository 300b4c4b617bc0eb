import Checkpoint
import Comm
import Foundation
import JSONText
import Model
import Tensor
import Worker

/// What `sail evaluate` is asked.
public struct EvaluateOptions: Sendable {
  /// Model folder or adapter folder.
  public var model: String
  /// Folder of the base model of adapter folders, nil for the one that each names.
  public var base: String?
  /// Preference pairs.
  public var data: DataOptions
  /// Reference folder, nil for none.
  public var reference: String?
  /// Model whose score of the generations is reported, and that judges where nobody else does; nil for
  /// none.
  public var reward: RunConfiguration.OracleModel?
  /// Oracle that scores generations, nil for none.
  public var judge: RunConfiguration.OracleSource?
  /// Files of generations to compare with, as `sail generate` or `sail evaluate` write them.
  public var opponents: [(name: String, path: String)]
  /// Folder to write.
  public var output: String
  /// β of the implicit reward.
  public var beta: Double
  /// Most pairs, nil for all.
  public var limit: Int?
  /// Most tokens of a generation.
  public var maxNewTokens: Int
  /// Temperature of the generations.
  public var temperature: Double
  /// Takes the opposite of the output where the model itself is a reward model.
  public var isReversed: Bool
  /// Puts its end token behind each response there.
  public var addsEndToken: Bool
  /// Seed of the draws.
  public var seed: UInt64
  /// Threads and number type.
  public var compute: ComputeOptions

  /// Options from their parts.
  public init(
    model: String, base: String? = nil, data: DataOptions, reference: String?,
    reward: RunConfiguration.OracleModel? = nil, isReversed: Bool = false,
    addsEndToken: Bool = false, judge: RunConfiguration.OracleSource?,
    opponents: [(name: String, path: String)], output: String, beta: Double, limit: Int?,
    maxNewTokens: Int, temperature: Double, seed: UInt64, compute: ComputeOptions
  ) {
    self.model = model
    self.base = base
    self.data = data
    self.reference = reference
    self.reward = reward
    self.isReversed = isReversed
    self.addsEndToken = addsEndToken
    self.judge = judge
    self.opponents = opponents
    self.output = output
    self.beta = beta
    self.limit = limit
    self.maxNewTokens = maxNewTokens
    self.temperature = temperature
    self.seed = seed
    self.compute = compute
  }
}

extension EvaluateOptions {
  /// The judge if it is a model.
  fileprivate var judgeModel: RunConfiguration.OracleModel? {
    guard case .model(let settings) = judge else { return nil }
    return settings
  }
}

/// Who looks at generations.
private struct Judges {
  /// Compares them with the chosen responses.
  var judge: Oracle?
  /// The reward model whose score is reported.
  var reward: Oracle?
}

/// One pair's numbers.
private struct EvaluatedPair {
  var logs: [Double]
  var references: [Double]?
  var completion: Completion
  var completionReference: Double?
  /// Scores of the generation and of the chosen response, by the judge and by the reward model.
  var scores: [Double]?
  var rewards: [Double]?
}

/// Evaluates a model on held-out pairs and its own generations, a reward model on the pairs alone;
/// collective.
///
/// Writes `metrics.json` (every figure with its 95 % interval), `pairs.jsonl` and
/// `generations.jsonl` into the output folder, and a table on standard output.
/// - Parameters:
///   - options: model, data, reference, judge, opponents.
///   - communicator: all ranks.
/// - Returns: the exit code.
/// - Throws: what is wrong with model, data or judge.
public func evaluate(
  _ options: EvaluateOptions, communicator: borrowing Communicator
) throws -> Int32 {
  let progress = ProgressLine(style: .auto, isShown: communicator.rank == 0)
  let start = Stopwatch.now
  let (lines, asked, opponents) = try communicator.agree {
    try checkGenerationSizes(maxNewTokens: options.maxNewTokens)
    try checkFolderCanBeMade(options.output)
    let lines = try options.data.rows(for: .pairs(), limit: options.limit)
    return (
      lines, try makeOracle(options.judge),
      try options.opponents.map { ($0.name, try Opponent(path: $0.path, prompts: lines)) }
    )
  }
  let model = try LoadedModel(
    path: options.model, use: .either, base: options.base, reference: options.reference,
    oracles: [options.judgeModel, options.reward].compactMap { $0 },
    compute: options.compute, communicator: communicator)
  let texts = try communicator.agree {
    try options.data.texts(lines, for: model.folder)
  }
  if model.folder.configuration.scoreHead != nil {
    return try evaluateRewardModel(
      options, model: model, texts: texts, progress: progress, communicator: communicator)
  }
  let judges = Judges(
    judge: options.judgeModel == nil ? asked : model.oracles.first,
    reward: options.reward == nil ? nil : model.oracles.last)
  let rows = try communicator.agree {
    let rows = try everyPair(texts, of: model.folder)
    let longest = rows.map(\.prompt.count).max() ?? 0
    try model.folder.checkPositions(
      longest + options.maxNewTokens, "the longest prompt and its new tokens have")
    return rows
  }
  let results = try mapRows(
    count: rows.count, batch: 16, what: "evaluate", progress: progress,
    communicator: communicator
  ) { range in
    try evaluatePairs(
      Array(rows[range]), texts: Array(texts[range]), first: range.lowerBound, model: model,
      judges: judges, options: options
    ).enumerated().map { position, pair in
      record(pair, text: texts[range.lowerBound + position], model: model.folder)
    }
  }
  guard communicator.rank == 0 else {
    try communicator.barrier()
    return 0
  }
  let records = try results.map { try parseJSON($0, source: "evaluation") }
  // The opponents' texts are few and scored here, against the same chosen responses' prompts.
  let report = try evaluationReport(
    records, options: options, oracle: judges.judge ?? judges.reward, opponents: opponents,
    texts: texts,
    seconds: Stopwatch.now - start)
  try writeEvaluation(records, report, folder: options.output)
  try writeGenerations(records, folder: options.output)
  print(report.table)
  try communicator.barrier()
  return 0
}

private func evaluatePairs(
  _ rows: [TokenPair], texts: [TextRow], first: Int, model: LoadedModel, judges: Judges,
  options: EvaluateOptions
) throws -> [EvaluatedPair] {
  let worker = model.worker
  let families = rows.map {
    PromptFamily(prompt: $0.prompt, completions: [$0.chosen, $0.rejected])
  }
  let logs = worker.logProbabilities(of: families)
  let references = model.reference.map { _ in worker.referenceLogProbabilities(of: families) }
  let completions = worker.rollout(
    rows.indices.map {
      GenerationRequest(prompt: rows[$0].prompt, sampleCount: 1, row: first + $0)
    },
    settings: GenerationSettings(
      rule: SamplingRule(temperature: options.temperature),
      maxNewTokens: options.maxNewTokens, endTokens: model.folder.endTokens),
    random: KeyedRandom(seed: options.seed, purpose: .evaluation), step: 0
  ).map { $0[0] }
  let completionReferences = model.reference.map { _ in
    worker.referenceLogProbabilities(
      of: zip(rows, completions).map {
        PromptFamily(prompt: $0.prompt, completions: [$1.tokens])
      })
  }
  let questions = zip(texts, completions).map { text, completion in
    OracleQuestion(
      prompt: text.prompt,
      completions: [model.folder.tokenizer.decode(completion.tokens), text.chosen],
      areEnded: [completion.isEnded, true])
  }
  let rewards = try judges.reward?.score(questions)
  let answers = try judges.judge?.score(questions) ?? rewards
  func scores(_ answers: [OracleAnswer]?, _ index: Int) -> [Double]? {
    guard let answers, case .scores(let values) = answers[index] else { return nil }
    return values
  }
  return rows.indices.map { index in
    EvaluatedPair(
      logs: logs[index], references: references?[index], completion: completions[index],
      completionReference: completionReferences?[index][0], scores: scores(answers, index),
      rewards: scores(rewards, index))
  }
}

/// A line that carries a pair's numbers between ranks and into `pairs.jsonl`.
private func record(_ pair: EvaluatedPair, text: TextRow, model: ModelFolder) -> [UInt8] {
  func optional(_ value: Double?) -> JSON { value.map { .number($0) } ?? .null }
  let json: JSON = [
    "prompt": text.given.json,
    "logps/chosen": .number(pair.logs[0]), "logps/rejected": .number(pair.logs[1]),
    "ref_logps/chosen": optional(pair.references?[0]),
    "ref_logps/rejected": optional(pair.references?[1]),
    "completion": .string(model.tokenizer.decode(pair.completion.tokens)),
    "completion_tokens": .integer(Int64(pair.completion.tokens.count)),
    "completion_logp": .number(pair.completion.logProbability),
    "completion_ref_logp": optional(pair.completionReference),
    "finish": .string(pair.completion.isEnded ? "eos" : "length"),
    "score": optional(pair.scores?[0]), "chosen_score": optional(pair.scores?[1]),
    "subset": text.subset.map { .string($0) } ?? .null,
    "reward": optional(pair.rewards?[0]), "chosen_reward": optional(pair.rewards?[1]),
  ]
  return Array(json.text.utf8)
}
