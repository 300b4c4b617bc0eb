import JSONText
import Model
import Tensor
import Testing

/// A way to compute: number of threads and library.
struct Setting: Sendable, CustomTestStringConvertible {
  var threadCount: Int
  var usesOneDNN: Bool

  /// One and two threads on both libraries.
  static let all = [
    Setting(threadCount: 1, usesOneDNN: true), Setting(threadCount: 2, usesOneDNN: true),
    Setting(threadCount: 1, usesOneDNN: false), Setting(threadCount: 2, usesOneDNN: false),
  ]

  /// One thread on both libraries; `ThreadCountTests` shows that two give the same bits.
  static let oneThread = all.filter { $0.threadCount == 1 }

  /// Threads and library for a test; made in the test, since oneDNN's threads belong to a caller.
  func compute() -> Compute { Compute(threadCount: threadCount, usesOneDNN: usesOneDNN) }

  var testDescription: String {
    "\(threadCount) thread(s), \(usesOneDNN ? "oneDNN" : "OpenBLAS")"
  }
}

/// Whether oneDNN has kernels here whose rows don't depend on each other.
let hasInvariantKernels = Compute(threadCount: 1).kernelName.hasPrefix("oneDNN")

/// Sizes of a tiny decoder.
struct TinySizes: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var hidden = 16
  var intermediate = 24
  var layers = 2
  var queryHeads = 4
  var keyValueHeads = 2
  var headSize = 4
  var vocabulary = 37
  var isTied = false
  var family = "qwen2"
  /// Further members of `config.json`, each with a comma before it.
  var options = ""

  static let untied = TinySizes(testDescription: "untied")
  static let tied = TinySizes(testDescription: "tied", isTied: true)
  /// Heads wider than hidden size ÷ heads, all queries on one key/value head, one layer.
  static let wideHeads = TinySizes(
    testDescription: "wide heads", hidden: 20, intermediate: 33, layers: 1, queryHeads: 3,
    keyValueHeads: 1, headSize: 10, vocabulary: 19)
  static let biases = TinySizes(
    testDescription: "llama, all biases", family: "llama",
    options: """
      , "attention_bias": true, "mlp_bias": true, "rope_scaling": {"rope_type": "llama3",
      "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 16}
      """)
  static let window = TinySizes(
    testDescription: "mistral, window of 3", isTied: true, family: "mistral",
    options: ", \"sliding_window\": 3")
  /// Fused tensors, half of each head rotated with a scale, a window.
  static let fused = TinySizes(
    testDescription: "phi3", family: "phi3",
    options: """
      , "partial_rotary_factor": 0.5, "sliding_window": 5, "max_position_embeddings": 4096,
      "original_max_position_embeddings": 64,
      "rope_scaling": {"type": "longrope", "short_factor": [1.5], "long_factor": [4.0]}
      """)
  static let headNorms = TinySizes(
    testDescription: "qwen3", headSize: 6, family: "qwen3",
    options: """
      , "attention_bias": true, "use_sliding_window": true, "sliding_window": 4,
      "max_window_layers": 1
      """)
  /// Widths and heads of whole vectors, for which some kernels need no padding.
  static let wholeVectors = TinySizes(
    testDescription: "whole vectors", hidden: 64, intermediate: 96, queryHeads: 2,
    keyValueHeads: 1, headSize: 32, isTied: true)
  static let all = [untied, tied, wideHeads, biases, window, fused, headNorms, wholeVectors]

  /// The configuration, read as a folder's `config.json` is.
  func configuration() throws -> DecoderConfiguration {
    let text = """
      {"model_type": "\(family)", "hidden_act": "silu", "vocab_size": \(vocabulary), "hidden_size": \(hidden),
       "intermediate_size": \(intermediate), "num_hidden_layers": \(layers),
       "num_attention_heads": \(queryHeads), "num_key_value_heads": \(keyValueHeads),
       "head_dim": \(headSize), "rms_norm_eps": 1e-05, "rope_theta": 100.0,
       "tie_word_embeddings": \(isTied)\(options)}
      """
    return try DecoderConfiguration(
      json: JSON(parsing: Array(text.utf8)), source: "config.json")
  }
}

/// A tiny decoder with random weights: no bias is 0, no norm is 1, nothing is symmetric.
///
/// Keep it in a constant: it owns the weights that its decoders read.
final class TinyModel {
  let configuration: DecoderConfiguration
  let table: ParameterTable
  private let memory: FloatBuffer
  private let rounded: FloatBuffer

  init(_ sizes: TinySizes, seed: UInt64 = 7) throws {
    configuration = try sizes.configuration()
    table = ParameterTable(configuration)
    memory = FloatBuffer(count: table.floatCount)
    var random = TestRandom(state: seed)
    for parameter in table.parameters {
      let isNorm = parameter.name.hasSuffix("norm.weight")
      let width = Double(parameter.shape.last ?? 1)
      let deviation = parameter.shape.count == 1 ? 0.3 : 1.2 / width.squareRoot()
      for index in 0..<parameter.count {
        let value = random.normal() * deviation + (isNorm ? 1 : 0)
        memory.base[parameter.offset + index] = Float(value)
      }
    }
    rounded = FloatBuffer(count: (table.matrixCount + 1) / 2)
    roundToBF16(memory.base, to: halves, count: table.matrixCount)
  }

  private var halves: UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(rounded.base).assumingMemoryBound(to: UInt16.self)
  }

  func weights(
    _ precision: Precision = .f32, adapter: AdapterWeights? = nil
  ) -> DecoderWeights {
    switch precision {
    case .f32:
      DecoderWeights(
        configuration: configuration, table: table, base: memory.base, adapter: adapter)
    case .bf16:
      DecoderWeights(
        configuration: configuration, table: table, rounded: halves,
        vectors: memory.base + table.matrixCount, adapter: adapter)
    }
  }

  func decoder(_ compute: Compute, _ precision: Precision = .f32) -> Decoder {
    Decoder(weights: weights(precision), compute: compute)
  }

  /// The weights in Double, in the table's places.
  var numbers: [Double] { (0..<table.floatCount).map { Double(memory.base[$0]) } }
}

/// Random token ids below a vocabulary's size.
func randomTokens(_ count: Int, below size: Int, seed: UInt64) -> [Int32] {
  var random = TestRandom(state: seed)
  return (0..<count).map { _ in Int32(random.next() % UInt64(size)) }
}

/// Two families of two completions each, of different lengths.
func twoFamilies(below size: Int) -> [PromptFamily] {
  [
    PromptFamily(
      prompt: randomTokens(5, below: size, seed: 1),
      completions: [
        randomTokens(4, below: size, seed: 2), randomTokens(7, below: size, seed: 3),
      ]),
    PromptFamily(
      prompt: randomTokens(3, below: size, seed: 4),
      completions: [
        randomTokens(6, below: size, seed: 5), randomTokens(1, below: size, seed: 6),
      ]),
  ]
}

/// The gradient that a backward adds to `start`, zeros if none is given.
func gradient(
  of decoder: Decoder, _ backward: DecoderBackward, _ batch: PackedBatch, _ coefficients: [Float],
  from start: [Float]? = nil, startsAtZero: Bool = false
) -> [Float] {
  let count = decoder.weights.trainedFloatCount
  _ = decoder.forward(batch, keepsActivations: true)
  var result = start ?? [Float](repeating: 0, count: count)
  result.withUnsafeMutableBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return }
    backward.backward(
      batch, coefficients: coefficients, addingTo: base, startsAtZero: startsAtZero)
  }
  return result
}

/// Memory of a gradient that counts as zero: no number, but in the gaps, which are zero and stay zero.
func garbage(_ parameters: [Parameter], count: Int) -> [Float] {
  var result = [Float](repeating: 0, count: count)
  for parameter in parameters {
    for index in 0..<parameter.count { result[parameter.offset + index] = .nan }
  }
  return result
}

/// Coefficients that differ in size and sign.
func mixedCoefficients(_ count: Int) -> [Float] {
  (0..<count).map { Float(($0 * 7 + 3) % 11) / 4 - 1.125 }
}

/// The bits of floats, so that NaN equals NaN and 0 differs from −0.
func bits(_ floats: [Float]) -> [UInt32] { floats.map(\.bitPattern) }

/// Reproducible draws that share no code with `KeyedRandom` (SplitMix64).
struct TestRandom: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// About normal, deviation 1: the sum of twelve uniform draws, centred.
  mutating func normal() -> Double {
    (0..<12).reduce(-6.0) { sum, _ in sum + Double(next() >> 11) * 0x1p-53 }
  }
}

/// Expects equal lists, and tells how many entries differ and which is the first.
///
/// `#expect(a == b)` looks for the shortest way from one list to the other, for hours if they are
/// long and far apart.
func expectEqual<Element: Equatable>(
  _ found: [Element], _ expected: [Element], _ what: String = "",
  location: SourceLocation = #_sourceLocation
) {
  let different = zip(found, expected).enumerated().filter { $0.element.0 != $0.element.1 }
  let isEqual = found.count == expected.count && different.isEmpty
  #expect(
    isEqual,
    """
    \(what): \(found.count) entries, expected \(expected.count); \(different.count) differ, \
    the first at \(different.first?.offset ?? -1)
    """, sourceLocation: location)
}

/// A random adapter of rank 3 on all projections of a tiny decoder, in f32 and rounded to bf16.
final class TinyAdapter {
  private let configuration: AdapterConfiguration
  private let table: AdapterTable
  private let memory: FloatBuffer
  private let rounded: OperandBuffer

  init(
    of decoder: DecoderConfiguration, dropout: Double, deviation: Double, seed: UInt64
  ) throws {
    configuration = AdapterConfiguration(
      rank: 3, alpha: 4, isRankStabilized: false, dropout: dropout,
      targets: AdapterTable.targets(of: decoder))
    table = try AdapterTable(configuration, of: decoder, source: "adapter")
    memory = FloatBuffer(count: table.floatCount)
    rounded = OperandBuffer(count: table.floatCount, precision: .bf16)
    var random = TestRandom(state: seed)
    for index in 0..<table.floatCount { memory.base[index] = Float(random.normal() * deviation) }
    roundToBF16(memory.base, to: halves, count: table.floatCount)
  }

  /// Valid while the adapter lives.
  func weights(_ precision: Precision) -> AdapterWeights {
    switch precision {
    case .f32: AdapterWeights(configuration: configuration, table: table, base: memory.base)
    case .bf16: AdapterWeights(configuration: configuration, table: table, rounded: halves)
    }
  }

  private var halves: UnsafeMutablePointer<UInt16> {
    rounded.matrix(rows: 1, columns: table.floatCount).base.assumingMemoryBound(to: UInt16.self)
  }
}
