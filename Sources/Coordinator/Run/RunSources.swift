import Checkpoint
import Comm
import Foundation
import Model
import Synthetic
import Tensor
import Worker

/// What a run reads before it allocates, beside its data: models without weights, oracle.
struct RunSources {
  let configuration: RunConfiguration
  let model: ModelFolder
  let reference: ModelFolder?
  /// The oracle if it is a rule or a command.
  private let asked: Oracle?
  /// The oracle if it is a model; nil for `method: sft`, which asks nobody.
  private let oracleFolders: OracleFolders?
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
    asked = try makeOracle(configuration.oracle)
    if case .model(let settings) = configuration.oracle, !isSFT {
      oracleFolders = try OracleFolders(settings, fallback: reference)
    } else {
      oracleFolders = nil
    }
  }

  /// Digests of the training data and of the weights, configuration and tokenizer of model, reference
  /// and an oracle model; each file once.
  func inputDigests(of data: RunData) throws -> [(file: String, digest: String)] {
    var known: [(file: String, digest: String)] = []
    for (file, digest) in zip(configuration.data.train, data.digests)
    where !known.contains(where: { $0.file == file.path }) { known.append((file.path, digest)) }
    var files: [String] = []
    func add(_ file: String) {
      if !files.contains(file) { files.append(file) }
    }
    func addFolder(_ folder: String) {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      for name in names.sorted()
      where [".safetensors", ".json"].contains(where: name.hasSuffix) { add("\(folder)/\(name)") }
    }
    switch configuration.model {
    case .folder(let path): addFolder(path)
    case .random(let config, let tokenizer, _):
      add(config)
      if tokenizer.hasSuffix(".json") { add(tokenizer) } else { addFolder(tokenizer) }
    }
    if let path = configuration.reference { addFolder(path) }
    for model in oracleModels { addFolder(model.folder.path) }
    return known + (try files.map { ($0, try digest(ofFile: $0)) })
  }

  /// Models of the oracle that need weights of their own.
  var oracleModels: [(name: String, folder: ModelFolder)] { oracleFolders?.models ?? [] }

  /// Who labels and judges, once the weights are read.
  func oracle(_ memory: ModelMemory, compute: Compute) throws -> Oracle? {
    try oracleFolders.map { try $0.oracle(memory, compute: compute) } ?? asked
  }

  /// Reads or draws the starting weights of policy, reference and oracle; collective.
  func fillWeights(
    _ memory: ModelMemory, pool: ThreadPool, communicator: borrowing Communicator
  ) throws {
    switch configuration.model {
    case .folder:
      try readWeights(of: model, into: memory.policy, communicator: communicator)
    case .random(_, _, let seed):
      try drawWeights(memory.policy, seed: seed, pool: pool, communicator: communicator)
    }
    try oracleFolders?.fillWeights(memory, communicator: communicator)
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

/// The rule or command that a run file or command line names; nil for none, or for a model.
func makeOracle(_ source: RunConfiguration.OracleSource?) throws -> Oracle? {
  switch source {
  case nil, .model: return nil
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
  }
}
