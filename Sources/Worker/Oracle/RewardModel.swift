import Model
import Tensor

/// A reward model that scores completions: a number of the whole text, prompt and completion.
///
/// Each question is a forward of its own, and equal texts of a question are computed once: a score does
/// not depend on what else is asked, and equal texts are a tie.
public final class RewardModel {
  private let worker: RankWorker
  private let sign: Double
  private let encode: (_ prompt: String, _ completion: String, _ isEnded: Bool) -> [Int32]

  /// A scorer on weights that the caller keeps alive.
  ///
  /// - Parameters:
  ///   - model: weights with a reward head.
  ///   - isReversed: takes the opposite of the model's output, as of a cost, of which less is better.
  ///   - compute: threads and products of the rank.
  ///   - encode: token ids of a prompt with a completion, which ended by itself or was cut.
  public init(
    model: DecoderWeights, isReversed: Bool, compute: Compute,
    encode: @escaping (_ prompt: String, _ completion: String, _ isEnded: Bool) -> [Int32]
  ) {
    precondition(model.configuration.scoreHead != nil)
    worker = RankWorker(policy: model, reference: nil, compute: compute)
    sign = isReversed ? -1 : 1
    self.encode = encode
  }

  /// Scores the completions of each question.
  ///
  /// - Parameter questions: prompts with their completions.
  /// - Returns: one answer a question, in order.
  public func score(_ questions: [OracleQuestion]) -> [OracleAnswer] { questions.map(answer) }

  private func answer(_ question: OracleQuestion) -> OracleAnswer {
    let texts = zip(question.completions, question.areEnded).map { completion, isEnded in
      encode(question.prompt, completion, isEnded)
    }
    if let empty = texts.firstIndex(where: \.isEmpty) {
      return .failed(
        "the reward model's tokenizer has no token for completion \(empty + 1) of \(texts.count)")
    }
    let longest = texts.map(\.count).max() ?? 0
    if let limit = worker.policy.weights.configuration.positionLimit, longest > limit.count {
      return .failed(
        "a text has \(longest) tokens for the reward model, beyond \(limit.count): \(limit.reason)")
    }
    var distinct: [[Int32]] = []
    for text in texts where !distinct.contains(text) { distinct.append(text) }
    let rewards = worker.scores(of: distinct)
    let scores = texts.compactMap { text in
      distinct.firstIndex(of: text).map { sign * rewards[$0] }
    }
    guard let bad = scores.firstIndex(where: { !$0.isFinite }) else { return .scores(scores) }
    return .failed(
      "the reward model gave \(scores[bad]) for completion \(bad + 1) of \(scores.count)")
  }
}
