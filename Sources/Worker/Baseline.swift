import Glibc

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
///   - logs: those log-probabilities.
///   - label: the row's label; a drawn self-label counts in expectation.
///   - objective: the row's settings.
/// - Returns: the mean of F of a given label, −H of a self-label, log G(|u|) of the likelier order.
public func decodeTimeValue(
  _ logs: PairLogs, label: PairLabel, objective: PairObjective
) -> Double {
  let counted: PairLabel
  if case .sampled = label { counted = .expected } else { counted = label }
  return pairLoss(logs, label: counted, baseline: 0, objective: objective).value
}

/// The importance weight of an online row (SAIL.md §5.4).
///
/// - Parameters:
///   - logs: log-probabilities of the training forward.
///   - generated: log q of both responses together, as they were drawn.
/// - Returns: Π π/q over both responses, at most ``largestImportanceWeight``.
public func importanceWeight(_ logs: PairLogs, generated: Double) -> Double {
  min(largestImportanceWeight, exp(logs.first + logs.second - generated))
}

/// Where importance weights are truncated.
public let largestImportanceWeight = 10.0
