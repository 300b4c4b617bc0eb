/// Baselines of T1: for each online row the mean value of all others (SAIL.md §5.3).
///
/// - Parameters:
///   - values: V of the step's online rows in row order, from decode-time log-probabilities.
///   - fallback: the baseline if there is only one row.
/// - Returns: b_i = (Σ V − V_i)/(n − 1), in the same order.
public func leaveOneOutBaselines(values: [Double], fallback: Double) -> [Double] {
  if values.count <= 1 { return values.map { _ in fallback } }
  let total = values.reduce(0, +)
  return values.map { (total - $0) / Double(values.count - 1) }
}

/// V of an online row from its log-probabilities while decoding and under the reference.
///
/// - Parameters:
///   - u: the preference logit from those log-probabilities.
///   - label: the row's label; a drawn self-label counts in expectation.
///   - link: how u becomes a probability.
/// - Returns: F of a given label, −H of a self-label, log σ(|u|) of the likelier order.
public func decodeTimeValue(
  u: Double, label: PairLabel, link: PreferenceLink = .logistic
) -> Double {
  let counted: PairLabel
  if case .sampled = label { counted = .expected } else { counted = label }
  return pairLoss(
    first: 0, second: 0, u: u, label: counted, baseline: 0,
    objective: PairObjective(beta: 1, link: link)
  ).value
}
