import Checkpoint
import Comm
import Foundation
import Model
import Synthetic
import Tensor
import Worker

/// What a run reads before it allocates: models without weights, data, oracle.
struct RunSources {
  let configuration: RunConfiguration
  let model: ModelFolder
  let reference: ModelFolder?
  let train: TrainingData
  let evaluation: TrainingData?
  let oracle: Oracle?
  let stepCount: Int
  /// Number type of the starting folder, which the result gets too.
  let numberType: NumberType

  init(_ configuration: RunConfiguration) throws {
    self.configuration = configuration
    try configuration.checkSupported()
    try configuration.checkSizes()
    switch configuration.model {
    case .folder(let path):
      model = try ModelFolder(path: path)
      numberType = try SafetensorsFolder(path: path).numberType ?? .f32
    case .random(let config, let tokenizer, _):
      model = try ModelFolder(configuration: config, tokenizer: tokenizer)
      numberType = .f32
    }
    let isSFT = configuration.method == .sft
    if isSFT {
      reference = nil
    } else if let path = configuration.reference {
      reference = try ModelFolder(path: path)
    } else {
      reference = model
    }
    if let reference { try model.checkVocabulary(of: reference) }
    let data = configuration.data
    let limits = LengthLimits(data)
    var rows = try TrainingData(path: data.train, isSFT: isSFT, model: model, limits: limits)
    if let path = data.eval {
      evaluation = try TrainingData(path: path, isSFT: isSFT, model: model, limits: limits)
    } else if data.evalFraction > 0 {
      let split = try EvaluationSplit(
        rowCount: rows.count, fraction: data.evalFraction, seed: data.splitSeed,
        name: data.train)
      evaluation = rows.selecting(split.evaluation)
      rows = rows.selecting(split.train)
    } else {
      evaluation = nil
    }
    train = rows
    oracle = try makeOracle(configuration.oracle)
    stepCount = try configuration.stepCount(rows: rows.count)
  }

  /// Digests of the training data and of the weight files of model and reference.
  func inputDigests() throws -> [(file: String, digest: String)] {
    var files = [configuration.data.train]
    var folders: [String] = []
    if case .folder(let path) = configuration.model { folders.append(path) }
    if let path = configuration.reference { folders.append(path) }
    for folder in folders {
      let names = try? FileManager.default.contentsOfDirectory(atPath: folder)
      files += (names ?? []).filter { $0.hasSuffix(".safetensors") }.sorted().map {
        "\(folder)/\($0)"
      }
    }
    return try files.map { ($0, try digest(ofFile: $0)) }
  }

  /// Reads or draws the starting weights of policy and reference; collective.
  func fillWeights(
    _ memory: ModelMemory, pool: ThreadPool, communicator: borrowing Communicator
  ) throws {
    switch configuration.model {
    case .folder:
      try readWeights(of: model, into: memory.policy, communicator: communicator)
    case .random(_, _, let seed):
      try drawWeights(memory.policy, seed: seed, pool: pool, communicator: communicator)
    }
    guard let weights = memory.reference, let reference else { return }
    if configuration.reference != nil {
      try readWeights(of: reference, into: weights, communicator: communicator)
    } else {
      if communicator.nodeRank == 0 {
        weights.base.update(from: memory.policy.base, count: model.table.floatCount)
      }
      try communicator.barrier()
    }
  }
}

/// The rules that can label and judge, by name.
private let rules: [(name: String, score: @Sendable (String, String) -> Double)] = [
  ("synthetic", { SyntheticTask.reward(prompt: $0, completion: $1) }),
  ("shorter", { -Double($1.unicodeScalars.count) }),
]

/// The oracle that a run file or command line names, nil for none.
func makeOracle(_ source: RunConfiguration.OracleSource?) throws -> Oracle? {
  switch source {
  case nil: return nil
  case .command(let command):
    do throws(OracleError) {
      return .command(
        try CommandOracle(
          command: command.words, timeoutSeconds: command.timeoutSeconds,
          restartLimit: command.restartLimit))
    } catch {
      throw ConfigurationError(error.description)
    }
  case .rule(let name):
    guard let rule = rules.first(where: { $0.name == name }) else {
      throw ConfigurationError(
        "there is no rule \"\(name)\"; the rules are "
          + rules.map { "\"\($0.name)\"" }.joined(separator: ", "))
    }
    return .rule(name: rule.name, rule.score)
  case .model:
    throw ConfigurationError(
      "oracle.model: reward models are not implemented in this version; use rule or command")
  }
}
