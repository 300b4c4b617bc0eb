/// Why an oracle can no longer be asked.
public struct OracleError: Error, CustomStringConvertible, Sendable {
  /// A sentence: which command, what it did, what to do.
  public let description: String

  /// An error from its sentence.
  public init(_ description: String) { self.description = description }
}

/// A prompt and the completions to be scored against each other.
public struct OracleQuestion: Sendable {
  /// The prompt as text.
  public var prompt: String
  /// The completions as text.
  public var completions: [String]
  /// Whether each completion ended by itself; false where a length limit cut it.
  public var areEnded: [Bool]

  /// A question from its texts.
  ///
  /// - Parameters:
  ///   - prompt: the prompt as text.
  ///   - completions: the completions as text.
  ///   - areEnded: whether each completion ended by itself, nil if all did.
  public init(prompt: String, completions: [String], areEnded: [Bool]? = nil) {
    precondition(areEnded.map { $0.count == completions.count } ?? true)
    self.prompt = prompt
    self.completions = completions
    self.areEnded = areEnded ?? completions.map { _ in true }
  }
}

/// What an oracle says to one question.
public enum OracleAnswer: Sendable, Equatable {
  /// One finite score a completion, in their order; higher is better.
  case scores([Double])
  /// This question has no scores, for the reason given; other questions are not affected.
  case failed(String)
}

/// Who scores responses: a function of the texts, a command that is asked, or another model.
public enum Oracle {
  /// A function of prompt and completion; higher is better.
  case rule(name: String, (_ prompt: String, _ completion: String) -> Double)
  /// A program that answers over pipes.
  case command(CommandOracle)
  /// Another model's implicit reward.
  case model(ImplicitReward)
  /// A reward model's score.
  case reward(RewardModel)

  /// Scores the completions of each question.
  ///
  /// - Parameter questions: prompts with their completions.
  /// - Returns: one answer a question, in order; a rule's score that is not finite is `failed`.
  /// - Throws: `OracleError` if the command cannot be asked any more.
  public func score(_ questions: [OracleQuestion]) throws(OracleError) -> [OracleAnswer] {
    switch self {
    case .command(let command): return try command.score(questions)
    case .model(let model): return model.score(questions)
    case .reward(let model): return model.score(questions)
    case .rule(let name, let rule):
      return questions.map { question in
        let scores = question.completions.map { rule(question.prompt, $0) }
        guard let bad = scores.firstIndex(where: { !$0.isFinite }) else { return .scores(scores) }
        return .failed(
          "the rule \"\(name)\" gave \(scores[bad]) for completion \(bad + 1) of \(scores.count)")
      }
    }
  }
}
