import Checkpoint
import Foundation
import JSONText
import Model
import Tokenizer

/// A Hugging Face model folder, or a PEFT adapter folder with its base model, all but the weights.
public struct ModelFolder {
  /// Where a model's weights come from.
  enum WeightSource: Hashable {
    /// The safetensors files of a folder.
    case folder(String)
    /// Keyed draws for a `config.json`.
    case random(configuration: String, seed: UInt64)
  }

  /// The folder, or the `config.json` of a model with random weights.
  public let path: String
  /// Where the weights come from, of an adapter folder those of its base.
  let weightSource: WeightSource
  /// The adapter, nil if the folder is a plain one.
  let adapter: AdapterFolder?
  /// Sizes and constants.
  public private(set) var configuration: DecoderConfiguration
  /// Where each tensor lies.
  public private(set) var table: ParameterTable
  /// Seed of a reward head that the folder lacks and that is drawn; nil where the weights are all there.
  private(set) var drawnHeadSeed: UInt64?
  /// The tokenizer.
  public let tokenizer: BPETokenizer
  /// The token that ends a completion of the data, nil if the model names none.
  public let endToken: Int32?
  /// Tokens that end a generation.
  public let endTokens: [Int32]
  /// Files that go with the weights, byte for byte: name and content.
  public private(set) var assets: [(name: String, bytes: [UInt8])]

  /// Files of a folder that an export carries along.
  private static let assetNames = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
    "chat_template.jinja", "chat_template.json",
  ]

  /// Reads a folder's configuration and tokenizer, and an adapter's.
  ///
  /// - Parameters:
  ///   - path: a model folder or an adapter folder.
  ///   - base: the folder of an adapter's base model, nil for the one that it names.
  /// - Throws: what is wrong with one of the files.
  public init(path: String, base: String? = nil) throws {
    guard AdapterFolder.isAdapter(path) else {
      try self.init(
        path: path, configuration: path + "/config.json", tokenizerFolder: path,
        tokenizerFile: path + "/tokenizer.json", weights: .folder(path))
      return
    }
    guard let base = try base ?? AdapterFolder.namedBase(of: path) else {
      throw ModelError("\(path): the adapter names no base model; give its folder with --base")
    }
    guard FileManager.default.fileExists(atPath: base + "/config.json") else {
      throw ModelError(
        "\(path): the adapter's base model \(base) is not there (no \(base)/config.json); give its "
          + "folder with --base")
    }
    // Training may have changed the chat template: the adapter's own tokenizer goes first.
    let hasTokenizer = FileManager.default.fileExists(atPath: path + "/tokenizer.json")
    let tokenizer = hasTokenizer ? path : base
    try self.init(
      path: path, configuration: base + "/config.json", tokenizerFolder: tokenizer,
      tokenizerFile: tokenizer + "/tokenizer.json", weights: .folder(base), adapter: path)
  }

  /// Reads a configuration and a tokenizer from two places, for random weights.
  ///
  /// - Parameters:
  ///   - configuration: path of a `config.json`.
  ///   - tokenizer: a folder with `tokenizer.json`, or that file.
  ///   - seed: of the weights.
  /// - Throws: what is wrong with one of the files.
  public init(configuration: String, tokenizer: String, seed: UInt64 = 0) throws {
    let isFile = tokenizer.hasSuffix(".json")
    let folder = isFile ? PathParts(tokenizer).folder : tokenizer
    try self.init(
      path: configuration, configuration: configuration,
      tokenizerFolder: folder.isEmpty ? "." : folder,
      tokenizerFile: isFile ? tokenizer : tokenizer + "/tokenizer.json",
      weights: .random(configuration: configuration, seed: seed))
  }

  private init(
    path: String, configuration: String, tokenizerFolder: String, tokenizerFile: String,
    weights: WeightSource, adapter: String? = nil
  ) throws {
    self.path = path
    weightSource = weights
    var assets: [(name: String, bytes: [UInt8])] = []
    let configurationBytes = try readFile(configuration, what: "model configuration")
    let json = try parseJSON(configurationBytes, source: configuration)
    var decoderConfiguration = try DecoderConfiguration(json: json, source: configuration)
    if case .folder(let folder) = weights {
      try decoderConfiguration.settleScoreBias(json: json, weights: folder)
    }
    self.configuration = decoderConfiguration
    table = ParameterTable(decoderConfiguration)
    let decoder = self.configuration
    self.adapter = try adapter.map { try AdapterFolder(path: $0, decoder: decoder) }
    let tokenizerBytes = try readFile(tokenizerFile, what: "tokenizer")
    tokenizer = try BPETokenizer(
      tokenizerJSON: parseJSON(tokenizerBytes, source: tokenizerFile), source: tokenizerFile)
    guard tokenizer.vocabularySize <= self.configuration.vocabularySize else {
      throw ModelError(
        "\(tokenizerFile): its largest token id is \(tokenizer.vocabularySize - 1), but "
          + "\(configuration) has a vocab_size of \(self.configuration.vocabularySize); the "
          + "tokenizer belongs to another model")
    }
    for name in Self.assetNames {
      switch name {
      case "config.json": assets.append((name, configurationBytes))
      case "tokenizer.json": assets.append((name, tokenizerBytes))
      default:
        let file = "\(tokenizerFolder)/\(name)"
        if FileManager.default.fileExists(atPath: file) {
          assets.append((name, try readFile(file, what: "model file")))
        }
      }
    }
    self.assets = assets
    (endToken, endTokens) = try Self.endTokens(
      configuration: json, assets: assets, tokenizer: tokenizer, folder: tokenizerFolder,
      vocabularySize: self.configuration.vocabularySize)
  }

  /// End tokens: tokenizer_config's `eos_token`, then generation_config's, then config's.
  private static func endTokens(
    configuration: JSON, assets: [(name: String, bytes: [UInt8])], tokenizer: BPETokenizer,
    folder: String, vocabularySize: Int
  ) throws -> (Int32?, [Int32]) {
    var found: [Int32] = []
    func add(_ id: Int, _ source: String) throws {
      guard id >= 0, id < vocabularySize else {
        throw ModelError(
          "\(source): eos_token_id \(id) is outside the vocabulary of \(vocabularySize) tokens")
      }
      if !found.contains(Int32(id)) { found.append(Int32(id)) }
    }
    func addIDs(_ value: JSON?, _ source: String) throws {
      guard let value, !value.isNull else { return }
      for element in value.elements ?? [value] {
        guard let id = element.integer else {
          throw ModelError("\(source): eos_token_id must be a token id, found \(element.text)")
        }
        try add(id, source)
      }
    }
    for (name, bytes) in assets where name == "tokenizer_config.json" {
      let source = "\(folder)/\(name)"
      let value = try parseJSON(bytes, source: source)["eos_token"]
      guard let text = value?.string ?? value?["content"]?.string else { continue }
      guard let id = tokenizer.id(of: text) else {
        throw ModelError("\(source): eos_token \"\(text)\" is not in the tokenizer's vocabulary")
      }
      try add(Int(id), source)
    }
    for (name, bytes) in assets where name == "generation_config.json" {
      let source = "\(folder)/\(name)"
      try addIDs(try parseJSON(bytes, source: source)["eos_token_id"], source)
    }
    try addIDs(configuration["eos_token_id"], "config.json")
    return (found.first, found)
  }

  /// Encodes rows of text for this model.
  func encoder(limits: LengthLimits?) -> RowEncoder {
    RowEncoder(limits: limits, endToken: endToken) { [tokenizer] text, addSpecialTokens in
      addSpecialTokens
        ? tokenizer.encodePrompt(text) : tokenizer.encode(text, addSpecialTokens: false)
    }
  }

  /// Refuses sequences beyond the length up to which the model's rotary embedding is implemented.
  ///
  /// - Parameters:
  ///   - count: tokens of the longest sequence.
  ///   - what: what has so many, and what to do: "row 3 has", "data.max_length allows".
  /// - Throws: `ModelError` with the limit and its reason.
  func checkPositions(_ count: Int, _ what: String) throws(ModelError) {
    guard let limit = configuration.positionLimit, count > limit.count else { return }
    throw ModelError(
      "\(path): \(what) \(count) tokens, but beyond \(limit.count) the model's \(limit.reason), which "
        + "is not implemented; use at most \(limit.count) tokens")
  }

  /// Refuses a reference that does not know this model's token ids.
  func checkVocabulary(of reference: ModelFolder) throws(ModelError) {
    let sizes = (configuration.vocabularySize, reference.configuration.vocabularySize)
    guard sizes.0 == sizes.1 else {
      throw ModelError(
        "\(reference.path): the reference has a vocab_size of \(sizes.1), the model \(sizes.0); "
          + "they must share their tokenizer")
    }
  }

  /// Opens a folder's weights and refuses tensors that this architecture has no place for.
  ///
  /// A tied model's copy of the embedding, a reward model's vocabulary head, the buffers of its
  /// normaliser (config.json has their values) and the rotary frequencies of old folders are let pass.
  func storedWeights(in path: String) throws -> SafetensorsFolder {
    let stored = try SafetensorsFolder(path: path)
    let known = Set(table.parameters.map { Array($0.name.utf8) })
    for tensor in stored.tensors where !known.contains(Array(tensor.name.utf8)) {
      let isReward = configuration.scoreHead != nil
      if tensor.name == "lm_head.weight", table.isTied || isReward { continue }
      if tensor.name.hasPrefix("normalizer."), isReward { continue }
      if tensor.name.hasSuffix("rotary_emb.inv_freq") { continue }
      throw ModelError(
        "\(path): the weights hold \"\(tensor.name)\", which config.json's \(table.layers.count) "
          + "layers have no place for; configuration and weights belong to different models")
    }
    return stored
  }

  /// The table's tensors as a file's.
  var placements: [TensorPlacement] {
    table.parameters.map {
      TensorPlacement(name: $0.name, shape: $0.shape, offset: $0.offset)
    }
  }

  /// Those of them that the folder holds.
  var storedPlacements: [TensorPlacement] {
    drawnHeadSeed == nil
      ? placements : Array(placements[..<table.headParameters.lowerBound])
  }

  /// The model with another head, which is drawn, and with the `config.json` that says so.
  func replacingHead(
    _ head: ScoreHead, seed: UInt64, configuration bytes: [UInt8]
  ) -> ModelFolder {
    var result = self
    result.configuration.head = .score(head)
    result.table = ParameterTable(result.configuration)
    result.drawnHeadSeed = seed
    result.assets = assets.map { $0.name == "config.json" ? ($0.name, bytes) : $0 }
    return result
  }
}

/// A whole file; throws `DataError` if it cannot be read.
func readFile(_ path: String, what: String) throws(DataError) -> [UInt8] {
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
    throw DataError(path, "there is no such file; expected a \(what)")
  }
  guard !isFolder.boolValue else {
    throw DataError(path, "this is a folder; expected a \(what) file")
  }
  guard access(path, R_OK) == 0 else {
    throw DataError(path, "cannot be read: \(String(cString: strerror(errno)))")
  }
  do {
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
  } catch {
    throw DataError(path, "cannot be read: \(error.localizedDescription)")
  }
}

/// JSON of a file; throws `DataError` naming the file.
func parseJSON(_ bytes: [UInt8], source: String) throws(DataError) -> JSON {
  do throws(JSONError) { return try JSON(parsing: bytes) } catch {
    throw DataError(source, error.description)
  }
}
