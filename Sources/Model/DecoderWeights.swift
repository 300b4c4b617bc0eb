import Tensor

/// Weights of a decoder: flat allocations read through its table.
public struct DecoderWeights: @unchecked Sendable {
  /// Sizes and constants.
  public let configuration: DecoderConfiguration
  /// Where each tensor lies.
  public let table: ParameterTable
  /// The matrices, `table.matrixCount` numbers; they must outlive this value.
  private let matrices: UnsafeMutableRawPointer
  /// Type of the matrices' numbers.
  public let precision: Precision
  /// The vectors, the table's floats from `table.matrixCount` on; they must outlive this value.
  private let vectors: UnsafeMutablePointer<Float>
  /// The adapter on top of them, which then alone is trained; nil for none.
  public let adapter: AdapterWeights?

  /// Weights in f32 at `base`, `table.floatCount` floats.
  public init(
    configuration: DecoderConfiguration, table: ParameterTable, base: UnsafeMutablePointer<Float>,
    adapter: AdapterWeights? = nil
  ) {
    self.configuration = configuration
    self.table = table
    matrices = UnsafeMutableRawPointer(base)
    precision = .f32
    vectors = base + table.matrixCount
    self.adapter = adapter
  }

  /// Weights with matrices in bf16 and vectors in f32.
  ///
  /// - Parameters:
  ///   - configuration: sizes and constants.
  ///   - table: where each tensor lies.
  ///   - rounded: the matrices, `table.matrixCount` numbers.
  ///   - vectors: the table's floats from `table.matrixCount` on.
  ///   - adapter: the adapter on top of them, in bf16 too; nil for none.
  public init(
    configuration: DecoderConfiguration, table: ParameterTable,
    rounded: UnsafeMutablePointer<UInt16>, vectors: UnsafeMutablePointer<Float>,
    adapter: AdapterWeights? = nil
  ) {
    self.configuration = configuration
    self.table = table
    matrices = UnsafeMutableRawPointer(rounded)
    precision = .bf16
    self.vectors = vectors
    self.adapter = adapter
  }

  /// Floats of what is trained, and of its gradient.
  public var trainedFloatCount: Int { adapter?.table.floatCount ?? table.floatCount }

  func matrix(_ offset: Int, _ rows: Int, _ columns: Int) -> OperandMatrix {
    OperandMatrix(
      base: matrices + offset * precision.byteCount, rows: rows, columns: columns,
      precision: precision)
  }

  /// The first float of a vector.
  func vector(_ offset: Int) -> UnsafeMutablePointer<Float> {
    vectors + (offset - table.matrixCount)
  }
}
