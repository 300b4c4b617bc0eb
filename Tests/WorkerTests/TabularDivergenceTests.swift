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

/// A head whose logits at its first two rows are given.
///
/// Those rows are unit vectors, the weights' columns the logits; the rows behind them are padding.
private final class TwoRowHead {
  private static let rows = 32
  private let inputs = FloatBuffer(count: 2 * TwoRowHead.rows)
  private let weights: FloatBuffer
  private let tokens: Int
  private(set) var sums = [SoftmaxSums](repeating: SoftmaxSums(), count: TwoRowHead.rows)

  init(_ logits: [[Double]], compute: Compute) {
    tokens = logits[0].count
    weights = FloatBuffer(count: 2 * tokens)
    for row in 0..<2 {
      inputs.base[3 * row] = 1
      for token in 0..<tokens { weights.base[2 * token + row] = Float(logits[row][token]) }
    }
    compute.softmaxSums(
      head, targets: [Int32](repeating: 0, count: Self.rows), kept: nil, into: &sums)
  }

  var head: VocabularyHead {
    VocabularyHead(
      inputs: inputs.matrix(rows: Self.rows, columns: 2).operand,
      weights: weights.matrix(rows: tokens, columns: 2).operand)
  }

  func withReference<Result>(_ coefficients: [Float], _ body: (ReferenceHead) -> Result) -> Result {
    sums.withUnsafeBufferPointer {
      guard let base = $0.baseAddress else { preconditionFailure("no rows") }
      let padding = [Float](repeating: 0, count: Self.rows - 2)
      return body(ReferenceHead(head: head, sums: base, coefficients: coefficients + padding))
    }
  }

  /// Gradient of Σ κ KL(reference ‖ ·) by the weights (V, 2), which is that by the logits.
  func divergenceGradient(
    _ compute: Compute, from reference: TwoRowHead, coefficients: [Float]
  ) -> [Float] {
    let logits = FloatBuffer(count: Self.rows * tokens)
    let dInputs = FloatBuffer(count: 2 * Self.rows)
    let dWeights = FloatBuffer(count: 2 * tokens)
    let kept = SlicedLogits(
      base: logits.base, rows: Self.rows, slices: VocabularySlices(tokens: tokens))
    let none = [Int32](repeating: 0, count: Self.rows)
    compute.softmaxSums(head, targets: none, kept: kept, into: &sums)
    reference.withReference(coefficients) {
      compute.headGradient(
        head, sums: sums, targets: none, coefficients: [Float](repeating: 0, count: Self.rows),
        reference: $0, logits: kept, into: dInputs.matrix(rows: Self.rows, columns: 2),
        addingTo: dWeights.matrix(rows: tokens, columns: 2))
    }
    return Array(UnsafeBufferPointer(start: dWeights.base, count: dWeights.count))
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
    let compute = Compute(threadCount: 1)
    let mean = SequencePolicy.sequences.reduce(0) { sum, sequence in
      let (head, other) = heads(sequence, compute)
      let divergences = other.withReference([1, 1]) {
        compute.divergences(head.head, sums: head.sums, kept: nil, reference: $0)
      }
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
      let (head, other) = heads(sequence, compute)
      let kappa = Float(gamma * exp(source.logProbability(sequence)))
      let slopes = head.divergenceGradient(compute, from: other, coefficients: [kappa, kappa])
      for (line, prediction) in SequencePolicy.predictions(sequence).enumerated() {
        for column in 0..<columns {
          gradient[prediction.row * columns + column] += Double(slopes[column * 2 + line])
        }
      }
    }
    return gradient
  }

  /// Heads that give the logits of both at the two predictions of a sequence.
  private func heads(
    _ sequence: (Int, Int), _ compute: Compute
  ) -> (policy: TwoRowHead, reference: TwoRowHead) {
    func head(_ source: SequencePolicy) -> TwoRowHead {
      TwoRowHead(
        SequencePolicy.predictions(sequence).map { source.logits[$0.row] }, compute: compute)
    }
    return (head(policy), head(reference))
  }

  private func expectNear(_ found: [Double], _ expected: [Double]) {
    for (one, other) in zip(found, expected) {
      #expect(abs(one - other) < 3e-7, "\(found) against \(expected)")
    }
  }
}
