import Comm
import Model
import Worker

/// A pair of completions that one rank generated and labelled, for all ranks to know.
struct RolloutPair: Sendable {
  /// Position of the row in its step.
  var index: Int
  /// The two completions.
  var completions: [Completion]
  /// Oracle scores, nil where none were asked for or the oracle failed on this row.
  var scores: [Double]?
  /// Whether the oracle failed on this row.
  var hasFailed: Bool
}

/// Numbers of all ranks' rollouts: flat words that MPI can carry.
///
/// A row is: index, failed, has scores, two scores, then for each completion its log-probability,
/// ended, token count and tokens. Doubles go as their bits.
private func words(of rollouts: [RolloutPair]) -> [UInt64] {
  var result: [UInt64] = []
  for rollout in rollouts {
    result.append(UInt64(rollout.index))
    result.append(rollout.hasFailed ? 1 : 0)
    result.append(rollout.scores == nil ? 0 : 1)
    for sample in 0..<2 { result.append((rollout.scores?[sample] ?? 0).bitPattern) }
    for completion in rollout.completions {
      result.append(completion.logProbability.bitPattern)
      result.append(completion.isEnded ? 1 : 0)
      result.append(UInt64(completion.tokens.count))
      result += completion.tokens.map { UInt64($0) }
    }
  }
  return result
}

private func rollouts(from words: [UInt64]) -> [RolloutPair] {
  var result: [RolloutPair] = []
  var position = 0
  func next() -> UInt64 {
    defer { position += 1 }
    return words[position]
  }
  while position < words.count {
    let index = Int(next())
    let hasFailed = next() == 1
    let hasScores = next() == 1
    let scores = [Double(bitPattern: next()), Double(bitPattern: next())]
    let completions = (0..<2).map { _ in
      let logProbability = Double(bitPattern: next())
      let isEnded = next() == 1
      let count = Int(next())
      return Completion(
        tokens: (0..<count).map { _ in Int32(next()) }, logProbability: logProbability,
        isEnded: isEnded)
    }
    result.append(
      RolloutPair(
        index: index, completions: completions, scores: hasScores ? scores : nil,
        hasFailed: hasFailed))
  }
  return result
}

/// All ranks' rollouts on every rank, by row; collective.
func exchange(
  _ own: [RolloutPair], communicator: borrowing Communicator
) throws -> [Int: RolloutPair] {
  var result: [Int: RolloutPair] = [:]
  for part in try communicator.allGather(words(of: own)) {
    for rollout in rollouts(from: part) { result[rollout.index] = rollout }
  }
  return result
}
