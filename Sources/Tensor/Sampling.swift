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
  /// Weights are computed slice by slice of the vocabulary and forgotten, unless a filter needs a whole
  /// row's.
  /// - Parameters:
  ///   - logits: (M, V), read only.
  ///   - sums: over each row's logits.
  ///   - rule: the filters.
  ///   - uniforms: M numbers in [0, 1), one a row.
  /// - Returns: M tokens; ties go to the lower id.
  public func sample(
    _ logits: SlicedLogits, sums: UnsafePointer<SoftmaxSums>, rule: SamplingRule,
    uniforms: [Double]
  ) -> [SampledToken] {
    precondition(uniforms.count == logits.rows)
    return [SampledToken](unsafeUninitializedCapacity: logits.rows) { buffer, initialized in
      nonisolated(unsafe) let tokens = buffer
      let isFiltered = rule.topK > 0 && rule.topK < logits.slices.tokens || rule.topP < 1
      let count = isFiltered ? logits.slices.tokens : VocabularySlices.width
      pool.forEachPart(of: logits.rows) { part, thread in
        withScratch(count, thread: thread) { scratch in
          for row in part {
            let line = LogitsRow(logits: logits, row: row, sums: sums[row], scratch: scratch)
            tokens[row] = line.sample(rule, isFiltered: isFiltered, uniform: uniforms[row])
          }
        }
      }
      initialized = logits.rows
    }
  }
}

/// One row of logits from which a token is chosen.
private struct LogitsRow {
  let logits: SlicedLogits
  let row: Int
  let sums: SoftmaxSums
  let scratch: Floats

  var slices: VocabularySlices { logits.slices }

  subscript(token: Int) -> Float {
    let slice = token / VocabularySlices.width
    return logits.slice(slice).row(row)[token % VocabularySlices.width]
  }

  func sample(_ rule: SamplingRule, isFiltered: Bool, uniform: Double) -> SampledToken {
    if rule.temperature == 0 { return chosen(mostLikely(), drawn: 0) }
    // Finite, so that the most likely token's 0 stays 0 however small the temperature is.
    let inverse = min(Float(1 / rule.temperature), Float.greatestFiniteMagnitude)
    var total = sums.sum
    let token: Int
    if isFiltered {
      for slice in 0..<slices.count {
        _ = weights(of: slice, inverse: inverse, into: scratch + slices[slice].lowerBound)
      }
      total = filter(scratch, count: slices.tokens, rule: rule)
      token = firstBeyond(uniform * total, scratch, count: slices.tokens)
    } else {
      if rule.temperature != 1 {
        total = (0..<slices.count).reduce(0) {
          $0 + weights(of: $1, inverse: inverse, into: scratch)
        }
      }
      token = inverseTransform(target: uniform * total, inverse: inverse)
    }
    if rule.temperature == 1 && !isFiltered { return chosen(token) }
    return chosen(token, drawn: Double((self[token] - sums.largest) * inverse) - log(total))
  }

  private func chosen(_ token: Int, drawn: Double? = nil) -> SampledToken {
    let logProbability = Double(self[token]) - sums.logSum
    return SampledToken(
      token: Int32(token), logProbability: logProbability,
      drawLogProbability: drawn ?? logProbability)
  }

  private func mostLikely() -> Int {
    for slice in 0..<slices.count {
      let line = logits.slice(slice).row(row)
      for (index, token) in slices[slice].enumerated() where line[index] == sums.largest {
        return token
      }
    }
    return 0
  }

  /// A slice's weights e^((l − largest)/temperature); returns their sum.
  private func weights(of slice: Int, inverse: Float, into weights: Floats) -> Double {
    let line = logits.slice(slice).row(row)
    let count = slices[slice].count
    for index in 0..<count { weights[index] = (line[index] - sums.largest) * inverse }
    return Double(exponentialsInPlace(weights, shift: 0, count: count))
  }

  /// The first token whose cumulated weight exceeds the target; the last positive one against rounding.
  private func inverseTransform(target: Double, inverse: Float) -> Int {
    var cumulated = 0.0
    var last = (slice: 0, before: 0.0)
    for slice in 0..<slices.count {
      let sum = weights(of: slice, inverse: inverse, into: scratch)
      if sum > 0 { last = (slice, cumulated) }
      cumulated += sum
      if cumulated > target { break }
    }
    _ = weights(of: last.slice, inverse: inverse, into: scratch)
    return slices[last.slice].lowerBound
      + firstBeyond(target - last.before, scratch, count: slices[last.slice].count)
  }
}

/// First index whose cumulated weight exceeds the target, else the last positive one.
private func firstBeyond(_ target: Double, _ weights: ConstantFloats, count: Int) -> Int {
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
