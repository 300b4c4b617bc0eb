/// What follows the last norm of a decoder.
public enum DecoderHead: Sendable, Equatable {
  /// A logit for each token of the vocabulary: `lm_head`, or the embedding if tied.
  case vocabulary
  /// One number for a sequence: a reward model.
  case score(ScoreHead)
}

/// A reward model's head: w · h + b of the last norm's output h at one token of the sequence.
public struct ScoreHead: Sendable, Equatable {
  /// Name of its tensors before `.weight` and `.bias`.
  public var name: String
  /// Whether there is a b.
  public var hasBias: Bool
  /// The score is read at the last token that is not this one; nil: at the last token.
  public var paddingToken: Int32?
  /// What is taken from the raw output, and what it is divided by then.
  public var normalization: Normalization

  /// A head from its parts.
  public init(
    name: String, hasBias: Bool, paddingToken: Int32?, normalization: Normalization
  ) {
    self.name = name
    self.hasBias = hasBias
    self.paddingToken = paddingToken
    self.normalization = normalization
  }

  /// (x − mean) ÷ deviation.
  public struct Normalization: Sendable, Equatable {
    /// The mean.
    public var mean: Double
    /// The deviation.
    public var deviation: Double

    /// A normalization from its parts.
    public init(mean: Double, deviation: Double) {
      self.mean = mean
      self.deviation = deviation
    }

    /// The output as it is.
    public static let none = Normalization(mean: 0, deviation: 1)
  }

  /// The head of transformers' `…ForSequenceClassification`, which reads the score at the last token that
  /// is not config.json's `pad_token_id`, whatever the attention mask says.
  public static func sequenceClassification(paddingToken: Int32?) -> ScoreHead {
    ScoreHead(
      name: "score", hasBias: false, paddingToken: paddingToken, normalization: .none)
  }

  /// Index of the token at which the score of a sequence is read; 0 if all are padding.
  func scoredIndex(of tokens: [Int32]) -> Int {
    guard let paddingToken else { return max(0, tokens.count - 1) }
    return tokens.lastIndex { $0 != paddingToken } ?? 0
  }
}

extension DecoderConfiguration {
  /// Rows of the head's matrix.
  var headRows: Int { head == .vocabulary ? vocabularySize : 1 }

  /// The reward head, nil where the head is the vocabulary's.
  public var scoreHead: ScoreHead? {
    guard case .score(let head) = head else { return nil }
    return head
  }
}

// The classes that `architectures` can name, by what comes after the family's prefix.
extension ConfigurationReader {
  /// The head that config.json's class has.
  ///
  /// `…ForSequenceClassification`: transformers' GenericForSequenceClassification. `…ForScore`, earlier
  /// `…ModelForScore`: github.com/PKU-Alignment/safe-rlhf, ScoreModelMixin. `EurusRewardModel`: the class
  /// of huggingface.co/openbmb/Eurus-RM-7b.
  func head(_ family: DecoderFamily) throws(ModelError) -> DecoderHead {
    let prefix = family.classPrefix
    let causal = "\(prefix)ForCausalLM"
    let classification = "\(prefix)ForSequenceClassification"
    let scores = ["\(prefix)ForScore", "\(prefix)ModelForScore"]
    let eurus = "EurusRewardModel"
    switch try strings("architectures").first {
    case nil, causal: return .vocabulary
    case classification:
      try requireOne("num_labels", found: try labelCount(), remedy: classification)
      return .score(.sequenceClassification(paddingToken: try paddingToken()))
    case .some(let name) where scores.contains(name):
      try requireOne(
        "score_dim", found: try wholeNumber("score_dim", default: 1), remedy: name)
      return .score(
        ScoreHead(
          name: "score_head", hasBias: try scoreBias(), paddingToken: nil,
          normalization: try normalization()))
    case eurus where family.modelType == "mistral":
      return .score(
        ScoreHead(
          name: "regression_head", hasBias: false, paddingToken: nil, normalization: .none))
    case .some(let name):
      let known = [causal, classification, scores[0]] + (prefix == "Mistral" ? [eurus] : [])
      throw unsupported(
        "architectures", "\"\(name)\"",
        supported: known.map { "\"\($0)\"" }.joined(separator: ", "))
    }
  }

  private func requireOne(_ key: String, found: Int, remedy name: String) throws(ModelError) {
    guard found == 1 else {
      throw ModelError(
        "\(source): \(key) of \(name) must be 1, as a reward is one number, found \(found)")
    }
  }

  /// Labels of a classifier; where config.json does not say, transformers takes two.
  private func labelCount() throws(ModelError) -> Int {
    if let labels = json["id2label"]?.members { return labels.count }
    return try wholeNumber("num_labels", default: 2)
  }

  private func paddingToken() throws(ModelError) -> Int32? {
    guard let value = json["pad_token_id"], !value.isNull else { return nil }
    guard let id = value.integer, let token = Int32(exactly: id) else {
      throw ModelError("\(source): pad_token_id must be a token id, found \(value.text)")
    }
    return token
  }

  /// `score_bias`, in folders of earlier versions `bias`; true where neither is there.
  private func scoreBias() throws(ModelError) -> Bool {
    for key in ["score_bias", "bias"] where json[key].map({ !$0.isNull }) ?? false {
      return try boolean(key)
    }
    return true
  }

  /// safe-rlhf's normaliser: a reward loses its mean and is divided by its deviation, a cost is divided
  /// only.
  private func normalization() throws(ModelError) -> ScoreHead.Normalization {
    let type = try string("score_type", default: "reward")
    guard ["reward", "cost", "critic"].contains(type) else {
      throw unsupported(
        "score_type", "\"\(type)\"", supported: "\"reward\", \"cost\", \"critic\"")
    }
    guard try boolean("do_normalize"), type != "critic" else { return .none }
    func single(_ key: String) throws(ModelError) -> Double {
      let value = json[key]?.elements?.first ?? json[key]
      guard (json[key]?.elements?.count ?? 1) == 1, let number = value?.number, number.isFinite
      else {
        throw ModelError(
          "\(source): do_normalize is true, so \(key) must be one number, found "
            + (json[key]?.text ?? "none"))
      }
      return number
    }
    let variance = try single("var")
    guard variance > 0 else {
      throw ModelError(
        "\(source): var must be above 0 where do_normalize is true, found \(variance)")
    }
    return ScoreHead.Normalization(
      mean: type == "reward" ? try single("mean") : 0, deviation: variance.squareRoot() + 1e-8)
  }
}
