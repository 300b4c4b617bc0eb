import Glibc

/// What one row of logits says about its target token.
public struct TokenStatistics: Sendable {
  /// log softmax(logits)[target], natural.
  public var logProbability: Double
  /// Entropy of softmax(logits), in nats.
  public var entropy: Double
  /// Mean of the logits over the vocabulary.
  public var meanLogit: Double
  /// Whether the target has the largest logit.
  public var isMostLikely: Bool
  /// KL(reference ‖ softmax(logits)) in nats, where it was asked for; else 0.
  public var divergence = 0.0

  /// Statistics from their parts.
  public init(
    logProbability: Double = 0, entropy: Double = 0, meanLogit: Double = 0,
    isMostLikely: Bool = false
  ) {
    self.logProbability = logProbability
    self.entropy = entropy
    self.meanLogit = meanLogit
    self.isMostLikely = isMostLikely
  }
}

// Sums over the vocabulary run in float over blocks of this many logits, in double over blocks.
private let block = 2048

extension Compute {
  /// Statistics of each row's target under the soft-max of its logits.
  ///
  /// - Parameters:
  ///   - logits: (M, V), read only.
  ///   - targets: M token ids in 0..<V.
  ///   - statistics: M entries, overwritten.
  public func tokenStatistics(
    _ logits: Matrix, targets: UnsafePointer<Int32>,
    into statistics: UnsafeMutablePointer<TokenStatistics>
  ) {
    pool.forEachPart(of: logits.rows) { part, thread in
      withScratch(block, thread: thread) { scratch in
        for row in part {
          statistics[row] = statisticsOfRow(
            logits.row(row), count: logits.columns, target: Int(targets[row]), scratch: scratch)
        }
      }
    }
  }

  /// Gradient of Σ c · log softmax(logits)[target], in place: logits become c (1[target] − softmax).
  ///
  /// - Parameters:
  ///   - logits: (M, V), values in, gradients out.
  ///   - targets: M token ids.
  ///   - coefficients: c, the derivative of the loss by each log-probability (M).
  public func logSoftmaxBackward(
    inPlace logits: Matrix, targets: UnsafePointer<Int32>, coefficients: UnsafePointer<Float>
  ) {
    pool.forEachPart(of: logits.rows) { part, _ in
      for row in part {
        let line = logits.row(row)
        let sum = exponentialsOfRow(line, count: logits.columns)
        let factor = Float(-Double(coefficients[row]) / sum)
        for index in 0..<logits.columns { line[index] *= factor }
        line[Int(targets[row])] += coefficients[row]
      }
    }
  }
}

private func statisticsOfRow(
  _ logits: ConstantFloats, count: Int, target: Int, scratch: Floats
) -> TokenStatistics {
  let largest = maximum(logits, count: count)
  var sum = 0.0
  var weighted = 0.0
  var total = 0.0
  for start in stride(from: 0, to: count, by: block) {
    let length = min(block, count - start)
    var plain = Vector.zero
    var plainTail: Float = 0
    scratch.update(from: logits + start, count: length)
    forEachVector(length) { index in
      plain += scratch.vector(index)
    } tail: { index in
      plainTail += scratch[index]
    }
    sum += Double(exponentialsInPlace(scratch, shift: largest, count: length))
    weighted += Double(dot(scratch, logits + start, count: length))
    total += Double(sumOfLanes(plain) + plainTail)
  }
  let logSum = Double(largest) + log(sum)
  return TokenStatistics(
    logProbability: Double(logits[target]) - logSum, entropy: logSum - weighted / sum,
    meanLogit: total / Double(count), isMostLikely: logits[target] == largest)
}
