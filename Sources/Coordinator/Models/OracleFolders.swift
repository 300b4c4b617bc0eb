import JSONText
import Model
import Tensor
import Worker

/// The folders of an oracle that is another model's implicit reward, all but their weights.
struct OracleFolders {
  let model: ModelFolder
  /// nil: the reference of the run or command serves, whose weights are there already.
  let reference: ModelFolder?
  let beta: Double

  /// Reads the folders' configurations and the tokenizer.
  ///
  /// - Parameters:
  ///   - settings: which folders.
  ///   - fallback: the reference that serves if the settings name none.
  /// - Throws: what is wrong with a folder; `ModelError` if the two do not share a vocabulary.
  init(_ settings: RunConfiguration.OracleModel, fallback: ModelFolder?) throws {
    model = try Self.causalModel(settings.folder)
    reference = try settings.reference.map { try Self.causalModel($0) }
    beta = settings.beta
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
  }

  /// A folder that gives probabilities of tokens; a reward head is refused by its name.
  private static func causalModel(_ path: String) throws -> ModelFolder {
    let source = path + "/config.json"
    let json = try parseJSON(try readFile(source, what: "model configuration"), source: source)
    let names = (json["architectures"]?.elements ?? []).compactMap(\.string)
    if let name = names.first(where: { $0.hasSuffix("ForSequenceClassification") }) {
      throw ModelError(
        "\(source): \(name): reward heads are not implemented in this version; give a "
          + "…ForCausalLM folder, whose implicit reward is the score, or run the reward model in "
          + "a program of its own and give that as the command")
    }
    return try ModelFolder(path: path)
  }

  /// The models whose weights the oracle needs beside those of the run.
  var models: [ModelRequest] {
    [ModelRequest("oracle", frozen: model)]
      + (reference.map { [ModelRequest("oracle's reference", frozen: $0)] } ?? [])
  }

  /// The oracle on weights that were read.
  func oracle(_ memory: ModelMemory, compute: Compute) throws -> Oracle {
    let own = reference == nil ? memory.reference : memory.others.last
    guard let weights = memory.others.first, let compared = own else {
      throw ModelError("\(model.path): the oracle has no place for its weights")
    }
    return .model(
      ImplicitReward(
        model: weights, reference: compared, beta: beta, endToken: model.endToken,
        compute: compute
      ) { [tokenizer = model.tokenizer] text, addSpecialTokens in
        tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
      })
  }
}
