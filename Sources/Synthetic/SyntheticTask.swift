import Tensor

/// A preference task with a known true reward: requests in short English, answers of several
/// competing qualities.
///
/// Every value is a pure function of the seed and its arguments. See `docs/synthetic-task.md`.
public struct SyntheticTask: Sendable {
  /// The scale of the Bradley–Terry labels: p(first is chosen) = σ(scale · (reward₁ − reward₂)).
  public static let preferenceScale = 2.0

  private let random: KeyedRandom
  private let labelNoise: Double

  /// The task of one seed.
  ///
  /// - Parameters:
  ///   - seed: decides requests, answers and labels.
  ///   - labelNoise: the probability that a drawn label is turned around; 0 or less is never, 1 or
  ///     more always.
  public init(seed: UInt64, labelNoise: Double) {
    random = KeyedRandom(seed: seed, purpose: .synthetic)
    self.labelNoise = labelNoise
  }

  /// The request of an index, any integer; 0.35 % of 200 000 requests repeat another's prompt.
  public func request(index: Int) -> Request {
    var draws = Draws(random, stream: .request, key: UInt64(bitPattern: Int64(index)))
    return Request(draws: &draws)
  }

  /// An answer of the behaviour policy, a mixture of good and mediocre ones, begun with a space.
  ///
  /// - Parameters:
  ///   - request: the request; its prompt's text is the key of the draws.
  ///   - sample: which of the request's answers.
  /// - Returns: the completion.
  public func answer(to request: Request, sample: Int) -> String {
    var draws = Draws(random, stream: .answer, key: textKey(request.prompt), sample: sample)
    return AnswerPlan(behaviourFor: request, draws: &draws).text(for: request)
  }

  /// The labelled pair of the request of an index: two different answers of the behaviour policy,
  /// samples 1 and up (sample 0 is left to supervised training).
  public func pair(index: Int) -> (prompt: String, chosen: String, rejected: String) {
    let request = request(index: index)
    let first = answer(to: request, sample: 1)
    var sample = 2
    var second = answer(to: request, sample: sample)
    // The policy has thousands of answers to any request; the bound is for the reader.
    while second == first, sample < 64 {
      sample += 1
      second = answer(to: request, sample: sample)
    }
    let isFirstChosen = label(first, second, request: request)
    return (
      request.prompt, isFirstChosen ? first : second, isFirstChosen ? second : first
    )
  }

  /// Whether the first of two answers is labelled the better one.
  private func label(_ first: String, _ second: String, request: Request) -> Bool {
    var draws = Draws(random, stream: .label, key: textKey(request.prompt))
    let margin =
      TrueReward(of: first, to: request).total - TrueReward(of: second, to: request).total
    let isFirstChosen = draws.chance(sigmoid(SyntheticTask.preferenceScale * margin))
    return isFirstChosen != draws.chance(labelNoise)
  }

  /// The true reward of a completion: finite for any text, about −3 … 6, higher is better.
  ///
  /// - Parameters:
  ///   - prompt: a request's prompt, which is read back from its text. For any other text the answer
  ///     is ``TrueReward/least``, whatever the completion: a tie.
  ///   - completion: the text after the prompt, without end tokens.
  /// - Returns: ``TrueReward/total``.
  public static func reward(prompt: String, completion: String) -> Double {
    guard let request = Request(prompt: prompt) else { return TrueReward.least }
    return TrueReward(of: completion, to: request).total
  }

  /// The best answer that a local search over the grammar finds: a lower bound of what is attainable.
  public static func bestAnswer(to request: Request) -> String {
    AnswerPlan.best(for: request).text
  }
}
