import Tensor

/// Settings of a low-rank adapter (LoRA, Hu et al., arXiv 2106.09685).
public struct AdapterConfiguration: Sendable, Equatable {
  /// Rank of the update of each linear layer.
  public var rank: Int
  /// The update is scaled by alpha ÷ rank, or, rank-stabilised, by alpha ÷ √rank (Kalajdzievski, arXiv
  /// 2312.03732).
  public var alpha: Double
  /// Whether the scale is the rank-stabilised one.
  public var isRankStabilized: Bool
  /// Probability that an input of the update is dropped in training.
  public var dropout: Double
  /// Which linear layers have an update: ends of their names, as PEFT's `target_modules`.
  public var targets: [String]

  /// An adapter from its settings.
  public init(
    rank: Int, alpha: Double, isRankStabilized: Bool, dropout: Double, targets: [String]
  ) {
    self.rank = rank
    self.alpha = alpha
    self.isRankStabilized = isRankStabilized
    self.dropout = dropout
    self.targets = targets
  }

  /// Factor of the update.
  public var scale: Float {
    Float(alpha / (isRankStabilized ? Double(rank).squareRoot() : Double(rank)))
  }

  /// Whether the linear layer of a name, such as `model.layers.0.self_attn.q_proj`, has an update.
  func hasTarget(_ name: String) -> Bool {
    targets.contains { name == $0 || name.hasSuffix(".\($0)") }
  }
}

/// Where the tensors of an adapter lie in one flat allocation; named as PEFT names them.
public struct AdapterTable: Sendable {
  /// The tensors in order of their offsets.
  public private(set) var parameters: [Parameter] = []
  /// Floats in the allocation, gaps included.
  public private(set) var floatCount = 0
  /// By layer and projection.
  private var updates: [[[LowRankUpdate]]] = []

  /// The table of an adapter of a decoder.
  ///
  /// - Throws: `ModelError` if a target is no linear layer of the decoder's layers.
  public init(
    _ adapter: AdapterConfiguration, of decoder: DecoderConfiguration, source: String
  ) throws(ModelError) {
    var found: Set<String> = []
    for layer in 0..<decoder.layerCount {
      var ofLayer: [[LowRankUpdate]] = []
      for projection in Projection.allCases {
        var ofProjection: [LowRankUpdate] = []
        var column = 0
        for part in decoder.parts(of: projection) {
          let name = "model.layers.\(layer).\(part.name)"
          if adapter.hasTarget(name) {
            found.formUnion(
              adapter.targets.filter { name == $0 || name.hasSuffix(".\($0)") })
            let first = place("\(name).lora_A", [adapter.rank, decoder.inputs(of: projection)])
            let second = place("\(name).lora_B", [part.outputs, adapter.rank])
            ofProjection.append(
              LowRankUpdate(
                first: first, second: second, columns: column..<column + part.outputs,
                key: UInt32(16 * layer + 4 * projection.rawValue + ofProjection.count)))
          }
          column += part.outputs
        }
        ofLayer.append(ofProjection)
      }
      updates.append(ofLayer)
    }
    if let target = adapter.targets.first(where: { !found.contains($0) }) {
      let known = AdapterTable.targets(of: decoder).joined(separator: ", ")
      throw ModelError(
        "\(source): the adapter's target \"\(target)\" is no linear layer of this model's layers; "
          + "they are \(known)")
    }
    guard !parameters.isEmpty else {
      throw ModelError("\(source): the adapter has no target")
    }
  }

  /// The names that targets can have in every layer of a decoder.
  public static func targets(of decoder: DecoderConfiguration) -> [String] {
    Projection.allCases.flatMap { decoder.parts(of: $0) }.map { part in
      String(part.name.split(separator: ".").last ?? "")
    }
  }

  /// Number of trainable parameters.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

  func updates(layer: Int, _ projection: Projection) -> [LowRankUpdate] {
    updates[layer][projection.rawValue]
  }

  private mutating func place(_ name: String, _ shape: [Int]) -> Int {
    let start = (floatCount + 15) / 16 * 16
    let parameter = Parameter(
      name: "base_model.model.\(name).weight", shape: shape, offset: start)
    parameters.append(parameter)
    floatCount = start + parameter.count
    return start
  }
}

/// The update of one linear layer: its outputs get scale · B A x.
struct LowRankUpdate: Sendable {
  /// Offset of A (rank, inputs).
  var first: Int
  /// Offset of B (outputs, rank).
  var second: Int
  /// The linear layer's columns among the projection's outputs.
  var columns: Range<Int>
  /// Keys its dropped inputs.
  var key: UInt32
}

/// Weights of an adapter: a flat allocation read through its table.
public struct AdapterWeights: @unchecked Sendable {
  /// Rank, scale, targets.
  public let configuration: AdapterConfiguration
  /// Where each tensor lies.
  public let table: AdapterTable
  /// The flat allocation, `table.floatCount` numbers; it must outlive this value.
  private let base: UnsafeMutableRawPointer
  private let precision: Precision

  /// Weights in f32 at `base`.
  public init(
    configuration: AdapterConfiguration, table: AdapterTable, base: UnsafeMutablePointer<Float>
  ) {
    self.configuration = configuration
    self.table = table
    self.base = UnsafeMutableRawPointer(base)
    precision = .f32
  }

  /// Weights in bf16 at `rounded`.
  public init(
    configuration: AdapterConfiguration, table: AdapterTable,
    rounded: UnsafeMutablePointer<UInt16>
  ) {
    self.configuration = configuration
    self.table = table
    base = UnsafeMutableRawPointer(rounded)
    precision = .bf16
  }
}

extension AdapterWeights {
  /// A matrix of the allocation.
  func operands(_ offset: Int, rows: Int, columns: Int) -> OperandMatrix {
    OperandMatrix(
      base: base + offset * precision.byteCount, rows: rows, columns: columns,
      precision: precision)
  }
}

/// Draws an adapter that changes nothing yet, as PEFT does: A uniform in ±1/√inputs, B zero.
///
/// - Parameters:
///   - table: where its tensors lie.
///   - seed: of the draws.
///   - base: `table.floatCount` floats, overwritten but for the gaps.
public func initializeAdapter(
  _ table: AdapterTable, seed: UInt64, into base: UnsafeMutablePointer<Float>
) {
  let random = KeyedRandom(seed: seed, purpose: .adapterInitialization)
  for (number, parameter) in table.parameters.enumerated() {
    let target = base + parameter.offset
    // A and B alternate.
    guard number % 2 == 0 else {
      target.update(repeating: 0, count: parameter.count)
      continue
    }
    let bound = 1 / Double(parameter.shape[1]).squareRoot()
    for index in 0..<parameter.count {
      let uniform = random.uniform(step: number, row: index & 0x7FFF_FFFF, sample: index >> 31)
      target[index] = Float(bound * (2 * uniform - 1))
    }
  }
}
