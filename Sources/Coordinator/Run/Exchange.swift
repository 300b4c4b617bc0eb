import Comm
import Model
import Worker

/// Completions of one row that one rank generated and labelled, for all ranks to know.
struct Rollout: Sendable {
  /// The step that trains on them, counted from 0.
  var step: Int
  /// Position of the row in its step.
  var row: Int
  /// The completions: two of the policy for an online row, one of the reference for an offline row.
  var completions: [Completion]
  /// Oracle scores, nil where none were asked for or the oracle failed on this row.
  var scores: [Double]?
  /// Why the oracle failed on this row; nil where it did not.
  var failure: String?
}

/// Numbers of rollouts: flat words that MPI can carry.
///
/// A rollout is: step, row, has scores, number of completions; then for each completion its score, two
/// log-probabilities, ended, token count and tokens; then the bytes of the failure, their count and one
/// word each. Doubles go as their bits; a count beyond any text stands for no failure.
private func words(of rollouts: [Rollout]) -> [UInt64] {
  var result: [UInt64] = []
  for rollout in rollouts {
    result += [UInt64(rollout.step), UInt64(rollout.row)]
    result += [rollout.scores == nil ? 0 : 1, UInt64(rollout.completions.count)]
    for (sample, completion) in rollout.completions.enumerated() {
      result.append((rollout.scores?[sample] ?? 0).bitPattern)
      result.append(completion.logProbability.bitPattern)
      result.append(completion.drawLogProbability.bitPattern)
      result.append(completion.isEnded ? 1 : 0)
      result.append(UInt64(completion.tokens.count))
      result += completion.tokens.map { UInt64($0) }
    }
    result.append(rollout.failure.map { UInt64($0.utf8.count) } ?? .max)
    result += (rollout.failure ?? "").utf8.map { UInt64($0) }
  }
  return result
}

private func rollouts(from words: [UInt64]) -> [Rollout] {
  var result: [Rollout] = []
  var position = 0
  func next() -> UInt64 {
    defer { position += 1 }
    return words[position]
  }
  while position < words.count {
    let (step, row) = (Int(next()), Int(next()))
    let hasScores = next() == 1
    var scores: [Double] = []
    var completions: [Completion] = []
    for _ in 0..<next() {
      scores.append(Double(bitPattern: next()))
      let logProbability = Double(bitPattern: next())
      let drawLogProbability = Double(bitPattern: next())
      let isEnded = next() == 1
      let count = Int(next())
      completions.append(
        Completion(
          tokens: (0..<count).map { _ in Int32(next()) }, logProbability: logProbability,
          drawLogProbability: drawLogProbability, isEnded: isEnded))
    }
    let length = next()
    let failure =
      length == .max
      ? nil : String(decoding: (0..<length).map { _ in UInt8(next()) }, as: UTF8.self)
    result.append(
      Rollout(
        step: step, row: row, completions: completions, scores: hasScores ? scores : nil,
        failure: failure))
  }
  return result
}

/// All ranks' rollouts on every rank, by step and row; collective.
func exchange(
  _ own: [Rollout], communicator: borrowing Communicator
) throws -> [Rollout] {
  try communicator.allGather(words(of: own)).flatMap { rollouts(from: $0) }
    .sorted { ($0.step, $0.row) < ($1.step, $1.row) }
}
