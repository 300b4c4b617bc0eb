import JSONText
import Model
import Tensor
import Worker

/// The folders of an oracle that is another model, all but their weights: a reward model, or a causal
/// language model with what its implicit reward is compared with.
struct OracleFolders {
  /// What gives the score.
  private enum Kind {
    /// The reward head's output.
    case score(isReversed: Bool, endToken: Int32?)
    /// β · log π/π_ref; without a reference of its own that of the run or command serves, whose weights
    /// are there already.
    case implicit(reference: ModelFolder?, beta: Double)
  }

  let model: ModelFolder
  private let kind: Kind

  /// Reads the folders' configurations and the tokenizer; the model's class says what it is.
  ///
  /// - Parameters:
  ///   - settings: which folders.
  ///   - fallback: the reference that serves if the settings name none.
  /// - Throws: what is wrong with a folder; `ModelError` if the two do not share a vocabulary;
  ///   `ConfigurationError` for a setting that the kind of model does not have.
  init(_ settings: RunConfiguration.OracleModel, fallback: ModelFolder?) throws {
    model = try ModelFolder(path: settings.folder)
    if model.configuration.scoreHead != nil {
      kind = try Self.score(settings, model: model)
    } else {
      kind = try Self.implicit(settings, model: model, fallback: fallback)
    }
  }

  private static func score(
    _ settings: RunConfiguration.OracleModel, model: ModelFolder
  ) throws -> Kind {
    if let reference = settings.reference {
      throw ConfigurationError(
        "\(settings.folder) is a reward model, which is compared with nothing; leave out the "
          + "oracle's reference \(reference)")
    }
    return .score(
      isReversed: settings.isReversed,
      endToken: settings.addsEndToken ? try model.requireEndToken() : nil)
  }

  private static func implicit(
    _ settings: RunConfiguration.OracleModel, model: ModelFolder, fallback: ModelFolder?
  ) throws -> Kind {
    for (name, isSet) in [
      ("reverse", settings.isReversed), ("end_token", settings.addsEndToken),
    ] where isSet {
      throw ConfigurationError(
        "\(settings.folder) has no reward head, so its implicit reward is the score; \(name) is a "
          + "setting of reward models, leave it out")
    }
    let reference = try settings.reference.map { try ModelFolder(path: $0) }
    try reference?.requireVocabularyHead(for: "an oracle's reference")
    guard let compared = reference ?? fallback else {
      throw ConfigurationError(
        "\(settings.folder): the implicit reward of this oracle needs a reference to compare "
          + "with; name its folder")
    }
    let sizes = (model.configuration.vocabularySize, compared.configuration.vocabularySize)
    guard sizes.0 == sizes.1 else {
      let remedy =
        reference == nil
        ? "this is the run's own reference, give the oracle its own" : "give the one it began with"
      throw ModelError(
        "\(compared.path): the oracle's reference has a vocab_size of \(sizes.1), the oracle "
          + "\(model.path) \(sizes.0); they must share their tokenizer: \(remedy)")
    }
    return .implicit(reference: reference, beta: settings.beta)
  }

  /// The models whose weights the oracle needs beside those of the run.
  var models: [ModelRequest] {
    let own = [ModelRequest("oracle", frozen: model)]
    guard case .implicit(let reference?, _) = kind else { return own }
    return own + [ModelRequest("oracle's reference", frozen: reference)]
  }

  /// The oracle on weights that were read.
  ///
  /// - Parameters:
  ///   - weights: those of ``models``, in their order.
  ///   - reference: the run's or command's own reference.
  ///   - compute: threads and products of the rank.
  /// - Returns: the oracle.
  /// - Throws: `ModelError` if there are too few weights.
  func oracle(
    _ weights: ArraySlice<DecoderWeights>, reference: DecoderWeights?, compute: Compute
  ) throws(ModelError) -> Oracle {
    guard let own = weights.first else { throw noPlace }
    switch kind {
    case .score(let isReversed, let endToken):
      return .reward(
        RewardModel(model: own, isReversed: isReversed, compute: compute) {
          [model] prompt, completion, isEnded in
          model.rewardTokens(
            prompt: prompt, completion: completion, endToken: isEnded ? endToken : nil)
        })
    case .implicit(let folder, let beta):
      guard let compared = folder == nil ? reference : weights.dropFirst().first else {
        throw noPlace
      }
      return .model(
        ImplicitReward(
          model: own, reference: compared, beta: beta, endToken: model.endToken, compute: compute
        ) { [tokenizer = model.tokenizer] text, addSpecialTokens in
          addSpecialTokens
            ? tokenizer.encodePrompt(text) : tokenizer.encode(text, addSpecialTokens: false)
        })
    }
  }

  private var noPlace: ModelError {
    ModelError("\(model.path): the oracle has no place for its weights")
  }
}
