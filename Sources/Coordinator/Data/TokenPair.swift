/// A preference pair as token ids.
public struct TokenPair: Sendable, Equatable {
  /// The prompt, with the tokenizer's special tokens.
  public var prompt: [Int32]
  /// The preferred completion, its end token included.
  public var chosen: [Int32]
  /// The other completion, its end token included.
  public var rejected: [Int32]
  /// By how much the rewards should differ, where the data says so (`margin`).
  public var margin: Double?

  /// A pair from its parts.
  public init(prompt: [Int32], chosen: [Int32], rejected: [Int32], margin: Double? = nil) {
    self.prompt = prompt
    self.chosen = chosen
    self.rejected = rejected
    self.margin = margin
  }
}

/// A prompt with the completion to imitate, as token ids.
public struct TokenCompletion: Sendable, Equatable {
  /// The prompt, with the tokenizer's special tokens.
  public var prompt: [Int32]
  /// The completion, its end token included.
  public var completion: [Int32]

  /// A row from its parts.
  public init(prompt: [Int32], completion: [Int32]) {
    self.prompt = prompt
    self.completion = completion
  }
}

/// How many tokens a row may have and what happens beyond.
///
/// `drop`: a row whose prompt has more than `maxPromptLength` tokens, or whose prompt and longest
/// completion together have more than `maxLength`, leaves the set and is counted. `cut`: a prompt
/// keeps its last `maxPromptLength` tokens, a completion its first `maxLength` − prompt tokens,
/// its end token then being among those lost.
public struct LengthLimits: Sendable, Equatable {
  /// The most tokens of prompt and one completion together.
  public var maxLength: Int
  /// The most tokens of a prompt.
  public var maxPromptLength: Int
  /// What happens beyond a limit.
  public var overlong: RunConfiguration.Overlong

  /// Limits from their parts.
  public init(maxLength: Int, maxPromptLength: Int, overlong: RunConfiguration.Overlong) {
    self.maxLength = maxLength
    self.maxPromptLength = maxPromptLength
    self.overlong = overlong
  }

  /// The limits of a run file.
  public init(_ settings: RunConfiguration.DataSettings) {
    self.init(
      maxLength: settings.maxLength, maxPromptLength: settings.maxPromptLength,
      overlong: settings.overlong)
  }
}
