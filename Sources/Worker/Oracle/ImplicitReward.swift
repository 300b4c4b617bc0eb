import Model
import Tensor

/// The implicit reward of a model against its reference, β · log π(y|x)/π_ref(y|x).
///
/// It is the reward that the model is optimal for (DPO, arXiv:2305.18290, section 4), up to a term
/// of the prompt alone, which no comparison of two completions sees. A completion is the text's
/// tokens by themselves, then the end token if it ended by itself, as in `sail score`.
///
/// Each question is a forward of its own, and equal completions of a question are computed once: a
/// score does not depend on what else is asked, and equal texts are a tie.
public final class ImplicitReward {
  private let worker: RankWorker
  private let beta: Double
  private let endToken: Int32?
  private let encode: (String, Bool) -> [Int32]

  /// A scorer on weights that the caller keeps alive.
  ///
  /// - Parameters:
  ///   - model: the model whose reward is taken.
  ///   - reference: what it is compared with; it knows the same token ids.
  ///   - beta: β.
  ///   - endToken: the token that ends a completion, nil if the model has none.
  ///   - compute: threads and products of the rank.
  ///   - encode: a text's token ids for both; the second argument asks for special tokens.
  public init(
    model: DecoderWeights, reference: DecoderWeights, beta: Double, endToken: Int32?,
    compute: Compute, encode: @escaping (String, Bool) -> [Int32]
  ) {
    precondition(model.configuration.vocabularySize == reference.configuration.vocabularySize)
    worker = RankWorker(policy: model, reference: reference, compute: compute)
    self.beta = beta
    self.endToken = endToken
    self.encode = encode
  }

  /// Scores the completions of each question.
  ///
  /// - Parameter questions: prompts with their completions.
  /// - Returns: one answer a question, in order; a completion without a token has the score 0.
  public func score(_ questions: [OracleQuestion]) -> [OracleAnswer] { questions.map(answer) }

  private func answer(_ question: OracleQuestion) -> OracleAnswer {
    let prompt = encode(question.prompt, true)
    guard !prompt.isEmpty else {
      return .failed("the oracle model's tokenizer has no token for the prompt")
    }
    let completions = zip(question.completions, question.areEnded).map { text, isEnded in
      tokens(text, isEnded: isEnded)
    }
    var distinct: [[Int32]] = []
    for completion in completions where !completion.isEmpty && !distinct.contains(completion) {
      distinct.append(completion)
    }
    let rewards = distinct.isEmpty ? [] : rewards(prompt: prompt, completions: distinct)
    let scores = completions.map { completion in
      distinct.firstIndex(of: completion).map { rewards[$0] } ?? 0
    }
    guard let bad = scores.firstIndex(where: { !$0.isFinite }) else { return .scores(scores) }
    return .failed(
      "the oracle model gave \(scores[bad]) for completion \(bad + 1) of \(scores.count)")
  }

  private func tokens(_ text: String, isEnded: Bool) -> [Int32] {
    var tokens = encode(text, false)
    if isEnded, let endToken, tokens.last != endToken { tokens.append(endToken) }
    return tokens
  }

  private func rewards(prompt: [Int32], completions: [[Int32]]) -> [Double] {
    let families = [PromptFamily(prompt: prompt, completions: completions)]
    let logs = worker.logProbabilities(of: families).joined()
    let references = worker.referenceLogProbabilities(of: families).joined()
    return zip(logs, references).map { beta * ($0 - $1) }
  }
}
