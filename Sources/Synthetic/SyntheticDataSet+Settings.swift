extension SyntheticDataSet.Settings {
  /// The most rows of one file: far fewer than there are distinct prompts.
  private static let mostRows = 1_000_000

  /// Refuses settings that cannot be written, by name.
  public func validate() throws(SyntheticError) {
    guard labelNoise >= 0, labelNoise <= 0.5 else {
      throw SyntheticError(
        description: "labelNoise is \(labelNoise): expected a probability from 0 to 0.5")
    }
    for (name, count) in [
      ("supervisedCount", supervisedCount), ("trainCount", trainCount), ("evalCount", evalCount),
      ("promptCount", promptCount),
    ] where !(1...Self.mostRows).contains(count) {
      throw SyntheticError(
        description: "\(name) is \(count): expected a whole number from 1 to \(Self.mostRows)")
    }
    // 256 bytes and two special tokens come before the first merge.
    guard (258...65536).contains(vocabularySize) else {
      throw SyntheticError(
        description:
          "vocabularySize is \(vocabularySize): expected a whole number from 258 to 65536")
    }
    try model.validate()
  }

  /// What the folder says of itself.
  var readme: String {
    """
    # A synthetic preference data set

    Requests in short English and answers of known true reward (seed \(seed), label noise \
    \(labelNoise)), written by Sail; see docs/synthetic-task.md there.

    - sft.jsonl: \(supervisedCount) requests with one answer of the behaviour policy
    - train.jsonl, eval.jsonl: \(trainCount) and \(evalCount) preference pairs
    - prompts.jsonl: \(promptCount) requests without answers
    - model/: the configuration and the tokenizer of a small model, without weights
    """
  }
}
