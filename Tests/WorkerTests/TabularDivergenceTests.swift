import Glibc
import Tensor
import Testing

/// A policy over sequences of two tokens: a softmax table for the first token and one after each.
private struct SequencePolicy {
  static let vocabulary = 3
  /// Row 0 is the empty prefix, row 1 + a the prefix a.
  var logits: [[Double]]

  static let sequences = (0..<vocabulary * vocabulary).map { ($0 / vocabulary, $0 % vocabulary) }
  /// The prefixes of a sequence's two predictions, and what they predict.
  static func predictions(_ sequence: (Int, Int)) -> [(row: Int, target: Int)] {
    [(0, sequence.0), (1 + sequence.0, sequence.1)]
  }

  func logProbabilities(_ row: Int) -> [Double] {
    let normalizer = log(logits[row].reduce(0) { $0 + exp($1) })
    return logits[row].map { $0 - normalizer }
  }

  /// log π of a whole sequence.
  func logProbability(_ sequence: (Int, Int)) -> Double {
    SequencePolicy.predictions(sequence).reduce(0) { $0 + logProbabilities($1.row)[$1.target] }
  }

  /// KL(self ‖ other) over whole sequences.
  func divergence(to other: SequencePolicy) -> Double {
    SequencePolicy.sequences.reduce(0) { sum, sequence in
      let log = logProbability(sequence)
      return sum + exp(log) * (log - other.logProbability(sequence))
    }
  }

  /// Slopes of a function of the table, by central differences of fourth order.
  func slopes(_ function: (SequencePolicy) -> Double) -> [Double] {
    logits.indices.flatMap { row in
      (0..<SequencePolicy.vocabulary).map { column in
        func at(_ shift: Double) -> Double {
          var moved = self
          moved.logits[row][column] += shift
          return function(moved)
        }
        let step = 1e-3
        return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
      }
    }
  }
}

/// RevKL's per-token sums on sequences of the reference are the KL of sequences: SAIL.md §7.
struct TabularDivergenceTests {
  private let reference = SequencePolicy(
    logits: [[0.4, -1, 0.7], [1.2, 0, -0.3], [-0.8, 0.5, 0.1], [0, 2, -1]])
  private let policy = SequencePolicy(
    logits: [[-0.2, 0.9, 0.3], [0.1, -0.6, 0.8], [1.5, 0.2, -0.4], [0.3, 0.3, -2]])
  private let gamma = 0.7

  @Test func theMeanOfThePerTokenGradientsIsTheSlopeOfTheSequenceDivergence() {
    let found = meanGradient(weighedBy: reference, gamma: gamma)
    let slopes = policy.slopes { gamma * reference.divergence(to: $0) }
    #expect(slopes.contains { abs($0) > 0.05 })
    expectNear(found, slopes)
    // On another's sequences it is another number: the data has to come from the reference.
    let other = meanGradient(weighedBy: policy, gamma: gamma)
    #expect(zip(other, slopes).contains { abs($0 - $1) > 1e-2 })
  }

  @Test func theAscentDirectionIsTheReferencesLikelihood() {
    let found = meanGradient(weighedBy: reference, gamma: gamma)
    let likelihood = policy.slopes { moved in
      gamma
        * SequencePolicy.sequences.reduce(0) {
          $0 + exp(reference.logProbability($1)) * moved.logProbability($1)
        }
    }
    expectNear(found.map { -$0 }, likelihood)
  }

  @Test func theMeanOfThePerTokenDivergencesIsTheSequences() {
    let mean = SequencePolicy.sequences.reduce(0) { sum, sequence in
      let rows = rows(sequence)
      let coefficients = [Float](repeating: 1, count: 2)
      var divergences = [Double](repeating: 0, count: 2)
      Compute(threadCount: 1).divergences(
        rows.policy.matrix(rows: 2, columns: SequencePolicy.vocabulary),
        reference: rows.reference.matrix(rows: 2, columns: SequencePolicy.vocabulary),
        coefficients: coefficients, into: &divergences)
      return sum + exp(reference.logProbability(sequence)) * divergences.reduce(0, +)
    }
    #expect(abs(mean - reference.divergence(to: policy)) < 1e-6)
  }

  /// E over sequences y ~ `source` of the gradient of γ Σ_t KL(π_ref ‖ π) by the policy's table.
  private func meanGradient(weighedBy source: SequencePolicy, gamma: Double) -> [Double] {
    let compute = Compute(threadCount: 1)
    let columns = SequencePolicy.vocabulary
    var gradient = [Double](repeating: 0, count: policy.logits.count * columns)
    for sequence in SequencePolicy.sequences {
      let rows = rows(sequence)
      let logits = rows.policy.matrix(rows: 2, columns: columns)
      let kappa = Float(gamma * exp(source.logProbability(sequence)))
      let predictions = SequencePolicy.predictions(sequence)
      compute.logSoftmaxAndDivergenceBackward(
        inPlace: logits, targets: predictions.map { Int32($0.target) }, coefficients: [0, 0],
        reference: rows.reference.matrix(rows: 2, columns: columns),
        divergenceCoefficients: [kappa, kappa])
      for (line, prediction) in predictions.enumerated() {
        for column in 0..<columns {
          gradient[prediction.row * columns + column] += Double(logits.row(line)[column])
        }
      }
    }
    return gradient
  }

  /// Logits of both at the two predictions of a sequence.
  private func rows(_ sequence: (Int, Int)) -> (policy: FloatBuffer, reference: FloatBuffer) {
    func buffer(_ source: SequencePolicy) -> FloatBuffer {
      let buffer = FloatBuffer(count: 2 * SequencePolicy.vocabulary)
      let numbers = SequencePolicy.predictions(sequence).flatMap { source.logits[$0.row] }
      for (index, number) in numbers.enumerated() { buffer.base[index] = Float(number) }
      return buffer
    }
    return (buffer(policy), buffer(reference))
  }

  private func expectNear(_ found: [Double], _ expected: [Double]) {
    for (one, other) in zip(found, expected) {
      #expect(abs(one - other) < 3e-7, "\(found) against \(expected)")
    }
  }
}
