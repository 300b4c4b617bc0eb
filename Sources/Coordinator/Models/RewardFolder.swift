import Checkpoint
import JSONText
import Model

// What a model folder is by its head: a causal language model or a reward model.

extension ModelFolder {
  /// Refuses a reward model where probabilities of tokens are wanted.
  ///
  /// - Parameter use: what wants them, such as "sail score".
  /// - Throws: `ModelError` naming the folder's class.
  func requireVocabularyHead(for use: String) throws(ModelError) {
    guard configuration.scoreHead != nil else { return }
    throw ModelError(
      "\(configurationName): \(className) has a reward head and gives no probabilities of tokens; "
        + "\(use) wants a …ForCausalLM folder (sail reward and sail evaluate take a reward model)")
  }

  /// Refuses a causal language model where scores are wanted; throws `ModelError` naming its class.
  func requireScoreHead() throws(ModelError) {
    if configuration.scoreHead != nil { return }
    throw ModelError(
      "\(configurationName): \(className) has no reward head; give a "
        + "\(configuration.family.classPrefix)ForSequenceClassification folder (method: reward makes "
        + "one of a causal language model)")
  }

  /// The class that `architectures` names.
  private var className: String {
    let json = assets.first { $0.name == "config.json" }.flatMap { try? JSON(parsing: $0.bytes) }
    return json?["architectures"]?.elements?.first?.string
      ?? "\(configuration.family.classPrefix)ForCausalLM"
  }

  private var configurationName: String {
    if case .folder = weightSource { return path + "/config.json" }
    return path
  }

  /// What `method: reward` begins with: the folder's reward head, or a new one on a causal language model
  /// as transformers' `…ForSequenceClassification` has it.
  ///
  /// The score is read at the last token that is not padding, so the padding token is part of the model:
  /// that of config.json, else tokenizer_config's, which the configuration then gets.
  /// - Parameter seed: of a new head's weights.
  /// - Returns: the folder with a reward head.
  /// - Throws: what is wrong with the files.
  func rewardStart(seed: UInt64) throws -> ModelFolder {
    guard configuration.scoreHead == nil else { return self }
    guard let bytes = assets.first(where: { $0.name == "config.json" })?.bytes else {
      throw ModelError("\(path): config.json is missing")
    }
    guard case .object(var members) = try parseJSON(bytes, source: configurationName) else {
      throw ModelError("\(configurationName): expected a JSON object")
    }
    func set(_ key: String, _ value: JSON) {
      if let index = members.firstIndex(where: { $0.key == key }) {
        members[index].value = value
      } else {
        members.append(JSON.Member(key: key, value: value))
      }
    }
    members.removeAll { ["auto_map", "num_labels"].contains($0.key) }
    set("architectures", [.string("\(configuration.family.classPrefix)ForSequenceClassification")])
    set("id2label", ["0": "LABEL_0"])
    set("label2id", ["LABEL_0": 0])
    if members.first(where: { $0.key == "pad_token_id" })?.value.isNull ?? true,
      let token = try paddingTokenOfTokenizer()
    {
      set("pad_token_id", .integer(Int64(token)))
    }
    let json = JSON.object(members)
    let new = try DecoderConfiguration(json: json, source: configurationName)
    guard let head = new.scoreHead else {
      throw ModelError("\(configurationName): a reward head cannot be added")
    }
    return replacingHead(
      head, seed: seed, configuration: Array((json.indentedText + "\n").utf8))
  }

  /// The id of tokenizer_config's `pad_token`.
  private func paddingTokenOfTokenizer() throws -> Int32? {
    let name = "tokenizer_config.json"
    guard let bytes = assets.first(where: { $0.name == name })?.bytes else { return nil }
    let value = try parseJSON(bytes, source: "\(path)/\(name)")["pad_token"]
    guard let text = value?.string ?? value?["content"]?.string else { return nil }
    return tokenizer.id(of: text)
  }

  /// The token that ends a completion.
  ///
  /// - Throws: `ModelError` if the folder names none.
  func requireEndToken() throws(ModelError) -> Int32 {
    if let endToken { return endToken }
    throw ModelError("\(path): the folder names no end token; leave the end token out")
  }

  /// Token ids of prompt and completion joined without a template, as one text with the tokenizer's
  /// special tokens.
  ///
  /// - Parameters:
  ///   - prompt: the prompt.
  ///   - completion: the completion.
  ///   - endToken: put at the end unless it is there; nil for none.
  /// - Returns: the token ids, which may be none.
  func rewardTokens(prompt: String, completion: String, endToken: Int32? = nil) -> [Int32] {
    var tokens = tokenizer.encodePrompt(prompt + completion)
    if let endToken, tokens.last != endToken { tokens.append(endToken) }
    return tokens
  }
}

extension DecoderConfiguration {
  /// Where config.json does not say whether safe-rlhf's head has a bias, the weights do.
  mutating func settleScoreBias(json: JSON, weights path: String) throws(CheckpointError) {
    guard var head = scoreHead, head.name == "score_head",
      ["score_bias", "bias"].allSatisfy({ json[$0]?.isNull ?? true })
    else { return }
    head.hasBias = try SafetensorsFolder(path: path).tensor(named: "score_head.bias") != nil
    self.head = .score(head)
  }
}
