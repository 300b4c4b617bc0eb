import Glibc

/// How the next token is chosen from logits; the order of the filters is that of transformers.
public struct SamplingRule: Sendable, Equatable {
  /// Logits are divided by it; 0 chooses the most likely token.
  public var temperature: Double
  /// Only the k most likely tokens, 0 for all.
  public var topK: Int
  /// Only the smallest set of most likely tokens whose probabilities sum to at least p.
  public var topP: Double

  /// A rule from its settings.
  public init(temperature: Double = 1, topK: Int = 0, topP: Double = 1) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
  }
}

/// A chosen token.
public struct SampledToken: Sendable {
  /// Its id.
  public var token: Int32
  /// Its log-probability under the unfiltered soft-max at temperature 1.
  public var logProbability: Double
  /// Its log-probability under the distribution that it was drawn from.
  public var drawLogProbability: Double
}

extension Compute {
  /// Chooses one token a row by inverse transform: the first whose cumulated share exceeds u.
  ///
  /// - Parameters:
  ///   - logits: (M, V), read only.
  ///   - rule: the filters.
  ///   - uniforms: M numbers in [0, 1), one a row.
  /// - Returns: M tokens; ties go to the lower id.
  public func sample(_ logits: Matrix, rule: SamplingRule, uniforms: [Double]) -> [SampledToken] {
    precondition(uniforms.count == logits.rows)
    return [SampledToken](unsafeUninitializedCapacity: logits.rows) { buffer, initialized in
      nonisolated(unsafe) let tokens = buffer
      pool.forEachPart(of: logits.rows) { part, thread in
        withScratch(logits.columns, thread: thread) { scratch in
          for row in part {
            tokens[row] = sampleRow(
              logits.row(row), count: logits.columns, rule: rule, uniform: uniforms[row],
              scratch: scratch)
          }
        }
      }
      initialized = logits.rows
    }
  }
}

private func sampleRow(
  _ logits: ConstantFloats, count: Int, rule: SamplingRule, uniform: Double, scratch: Floats
) -> SampledToken {
  let largest = maximum(logits, count: count)
  scratch.update(from: logits, count: count)
  let sum = exponentialsAndSum(scratch, shift: largest, count: count)
  let logSum = Double(largest) + log(sum)
  func chosen(_ token: Int, drawn: Double? = nil) -> SampledToken {
    let logProbability = Double(logits[token]) - logSum
    return SampledToken(
      token: Int32(token), logProbability: logProbability,
      drawLogProbability: drawn ?? logProbability)
  }

  if rule.temperature == 0 {
    for token in 0..<count where logits[token] == largest { return chosen(token, drawn: 0) }
    return chosen(0, drawn: 0)
  }
  var total = sum
  // Finite, so that the most likely token's 0 stays 0 however small the temperature is.
  let inverse = min(Float(1 / rule.temperature), Float.greatestFiniteMagnitude)
  if rule.temperature != 1 {
    for index in 0..<count { scratch[index] = (logits[index] - largest) * inverse }
    total = exponentialsAndSum(scratch, shift: 0, count: count)
  }
  let isFiltered = rule.topK > 0 && rule.topK < count || rule.topP < 1
  if isFiltered { total = filter(scratch, count: count, rule: rule) }
  let token = inverseTransform(scratch, count: count, target: uniform * total)
  if rule.temperature == 1 && !isFiltered { return chosen(token) }
  return chosen(token, drawn: Double((logits[token] - largest) * inverse) - log(total))
}

/// First index whose cumulated weight exceeds the target; the last positive one against rounding.
private func inverseTransform(_ weights: ConstantFloats, count: Int, target: Double) -> Int {
  var cumulated = 0.0
  var last = 0
  for index in 0..<count where weights[index] > 0 {
    cumulated += Double(weights[index])
    last = index
    if cumulated > target { break }
  }
  return last
}

/// Sets the weights outside top-k, then outside top-p, to zero; returns the sum of the rest.
private func filter(_ weights: Floats, count: Int, rule: SamplingRule) -> Double {
  var order = (0..<count).filter { weights[$0] > 0 }
  order.sort { weights[$0] != weights[$1] ? weights[$0] > weights[$1] : $0 < $1 }
  if rule.topK > 0 { order.removeSubrange(min(rule.topK, order.count)...) }
  if rule.topP < 1 {
    let all = order.reduce(0.0) { $0 + Double(weights[$1]) }
    var cumulated = 0.0
    let kept = order.prefix { index in
      let isKept = cumulated < rule.topP * all
      cumulated += Double(weights[index])
      return isKept
    }
    order.removeSubrange(min(order.count, max(1, kept.count))...)
  }
  let kept = order.map { (index: $0, weight: weights[$0]) }
  weights.update(repeating: 0, count: count)
  var total = 0.0
  for entry in kept.sorted(by: { $0.index < $1.index }) {
    weights[entry.index] = entry.weight
    total += Double(entry.weight)
  }
  return total
}

private func exponentialsAndSum(_ x: Floats, shift: Float, count: Int) -> Double {
  var sum = 0.0
  for start in stride(from: 0, to: count, by: 2048) {
    let length = min(2048, count - start)
    sum += Double(exponentialsInPlace(x + start, shift: shift, count: length))
  }
  return sum
}
