import JSONText
import Model
import Tensor

@testable import Worker

/// A tiny decoder with random weights, a reference of its own, and rows for them.
final class TinyWorker {
  let worker: RankWorker
  let table: ParameterTable
  let weights: FloatBuffer
  private let referenceWeights: FloatBuffer

  init(threadCount: Int = 1, usesOneDNN: Bool = true, hasReference: Bool = true) throws {
    let json = try JSON(
      parsing: Array(
        """
        {"model_type": "qwen2", "vocab_size": 23, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "tie_word_embeddings": true, "initializer_range": 0.25}
        """.utf8))
    let configuration = try DecoderConfiguration(json: json, source: "tiny")
    let table = ParameterTable(configuration)
    func random(_ seed: UInt64) -> FloatBuffer {
      let buffer = FloatBuffer(count: table.floatCount)
      table.initialize(buffer.base, configuration: configuration, seed: seed)
      return buffer
    }
    self.table = table
    weights = random(1)
    referenceWeights = random(2)
    worker = RankWorker(
      policy: DecoderWeights(configuration: configuration, table: table, base: weights.base),
      reference: hasReference
        ? DecoderWeights(
          configuration: configuration, table: table, base: referenceWeights.base) : nil,
      compute: Compute(threadCount: threadCount, usesOneDNN: usesOneDNN))
    // Biases that are not 0 and norms that are not 1.
    for (index, shift) in direction(50).enumerated() { weights.base[index] += 10 * shift }
  }

  /// Rows of random tokens with the given labels, reference and baselines set.
  func rows(_ labels: [(Route, PairLabel)], seed: UInt64 = 7) -> [PairRow] {
    let random = KeyedRandom(seed: seed, purpose: .synthetic)
    var rows = labels.enumerated().map { index, kind in
      func tokens(_ count: Int, _ sample: Int) -> [Int32] {
        (0..<count).map {
          Int32(random.uniform(step: 1, row: index, sample: sample, position: $0) * 23)
        }
      }
      return PairRow(
        index: index, route: kind.0, prompt: tokens(1 + index % 4, 0),
        first: tokens(1 + (index * 3) % 7, 1), second: tokens(5 - index % 5, 2), label: kind.1)
    }
    let reference = worker.referenceLogProbabilities(
      of: rows.map { PromptFamily(prompt: $0.prompt, completions: [$0.first, $0.second]) })
    for index in rows.indices {
      rows[index].referenceFirst = reference[index][0]
      rows[index].referenceSecond = reference[index][1]
      rows[index].baseline = -0.4 - 0.1 * Double(index)
    }
    return rows
  }

  /// Results and gradient of groups, added one behind the other; the first starts at zero.
  ///
  /// With `hasPenalty` the reference's rows come along, for routes with a divergence coefficient.
  func gradient(
    _ groups: [[PairRow]], _ objective: (Route) -> PairObjective, terms: GradientTerms = .all,
    hasPenalty: Bool = false
  ) -> (results: [PairResult], gradient: [Float]) {
    let buffer = FloatBuffer(count: table.floatCount)
    for parameter in table.parameters {
      for index in 0..<parameter.count { buffer.base[parameter.offset + index] = .nan }
    }
    var results: [PairResult] = []
    for (index, group) in groups.enumerated() {
      results += worker.pairGradient(
        group, objective: objective, terms: terms,
        reference: hasPenalty ? referenceRows(group) : nil, addingTo: buffer.base,
        startsAtZero: index == 0)
    }
    return (results, Array(UnsafeBufferPointer(start: buffer.base, count: buffer.count)))
  }

  /// The reference on a group's rows.
  func referenceRows(_ group: [PairRow]) -> ReferenceRows {
    worker.referenceForward(of: group.filter { !$0.isDropped }.map(\.family)).rows
  }

  /// A random direction of length 1 in the parameters, 0 in the gaps.
  func direction(_ number: Int) -> [Float] {
    let buffer = FloatBuffer(count: table.floatCount)
    let random = KeyedRandom(seed: 99, purpose: .synthetic)
    for (index, parameter) in table.parameters.enumerated() {
      fillNormal(
        buffer.base + parameter.offset, count: parameter.count, deviation: 1, random: random,
        key: number * 1000 + index)
    }
    let values = UnsafeBufferPointer(start: buffer.base, count: buffer.count)
    let length = values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    return values.map { Float(Double($0) / length) }
  }

  /// Slope of a function of the weights along a direction, central differences of fourth order.
  func slope(along direction: [Float], step: Float = 0.02, _ value: () -> Double) -> Double {
    let before = Array(UnsafeBufferPointer(start: weights.base, count: weights.count))
    func at(_ shift: Float) -> Double {
      for index in before.indices { weights.base[index] = before[index] + shift * direction[index] }
      return value()
    }
    let near = at(step) - at(-step)
    let far = at(2 * step) - at(-2 * step)
    _ = at(0)
    return (8 * near - far) / (12 * Double(step))
  }
}
