import Checkpoint
import Comm
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
  /// The oracle if it is a model; nil for methods that ask nobody.
  private let oracleFolders: OracleFolders?
  /// The adapter that is trained, nil where the weights are.
  let adapter: AdapterRequest?
  /// Number type of the starting folder, which the result gets too.
  let numberType: NumberType

  init(_ configuration: RunConfiguration) throws {
    self.configuration = configuration
    try configuration.checkSupported()
    try configuration.checkSizes()
    var model =
      switch configuration.model {
      case .folder(let path, let base): try ModelFolder(path: path, base: base)
      case .random(let config, let tokenizer, let seed):
        try ModelFolder(configuration: config, tokenizer: tokenizer, seed: seed)
      }
    if configuration.method == .reward {
      guard model.adapter == nil else {
        throw ConfigurationError(
          "\(model.path): method: reward on an adapter folder is not implemented in this version; "
            + "merge it first (sail export --merge)")
      }
      model = try model.rewardStart(seed: configuration.seed)
    } else {
      try model.requireVocabularyHead(for: "method: \(configuration.method.rawValue)")
    }
    self.model = model
    // An adapter folder goes on, whether the run file says more of it or not.
    let settings = configuration.adapter ?? (model.adapter == nil ? nil : .init())
    adapter = try settings.map { try model.trainedAdapter($0, seed: configuration.seed) }
    switch model.weightSource {
    case .folder(let path) where adapter == nil:
      numberType = try SafetensorsFolder(path: path).numberType ?? .f32
    default: numberType = .f32
    }
    let comparesWithReference = configuration.comparesWithReference
    if !comparesWithReference {
      reference = nil
    } else if let path = configuration.reference {
      reference = try ModelFolder(path: path)
    } else {
      reference = model
    }
    if let reference {
      try reference.requireVocabularyHead(for: "reference")
      try model.checkVocabulary(of: reference)
    }
    for folder in [model] + (reference.map { [$0] } ?? []) {
      let data = configuration.data
      try folder.checkPositions(data.maxLength, "data.max_length allows")
      let answered = data.maxPromptLength + configuration.generation.maxNewTokens
      guard configuration.generates else { continue }
      try folder.checkPositions(
        answered, "data.max_prompt_length and generation.max_new_tokens allow")
    }
    asked = try makeOracle(configuration.oracle)
    if case .model(let settings) = configuration.oracle, comparesWithReference {
      oracleFolders = try OracleFolders(settings, fallback: reference)
    } else {
      oracleFolders = nil
    }
  }

  /// Models of the oracle that need weights of their own.
  var oracleModels: [ModelRequest] { oracleFolders?.models ?? [] }

  /// The policy: an adapter on frozen weights, or the weights.
  var policy: ModelRequest {
    ModelRequest(name: "policy", folder: model, adapter: adapter, changesWeights: adapter == nil)
  }

  /// Who labels and judges, once the weights are read.
  func oracle(_ memory: ModelMemory, compute: Compute) throws -> Oracle? {
    try oracleFolders.map {
      try $0.oracle(memory.others[...], reference: memory.reference, compute: compute)
    } ?? asked
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
