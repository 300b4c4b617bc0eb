import Model

/// Scores of generated completions, less a penalty for each that the length limit cut.
///
/// As TRL's `missing_eos_penalty`: a completion that drew an end token keeps its score.
///
/// - Parameters:
///   - scores: the oracle's scores, one a completion.
///   - completions: what was generated, in the same order.
///   - penalty: what a cut completion loses, 0 or more.
/// - Returns: the scores that labels follow from.
func penalized(_ scores: [Double], of completions: [Completion], by penalty: Double) -> [Double] {
  zip(scores, completions).map { $1.isEnded ? $0 : $0 - penalty }
}
