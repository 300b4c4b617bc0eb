import Tensor

/// What work with a decoder costs: weights of its products, bytes that rows take, operations.
///
/// A row is a token of a packed batch. Bytes are those of the buffers in LayerActivations.swift, of
/// the backward's workspace and of the head's rows, and change with them.
extension DecoderConfiguration {
  /// Weights of a layer's products.
  public var layerProductWeights: Int {
    Projection.allCases.reduce(0) { $0 + inputs(of: $1) * outputs(of: $1) }
  }

  /// Weights of all layers' products.
  public var bodyProductWeights: Int { layerCount * layerProductWeights }

  /// Weights of the head's product: the vocabulary projection, or a score's.
  public var headProductWeights: Int { headRows * hiddenSize }

  private var queryColumns: Int { heads.queryCount * heads.size }

  /// Bytes that each row keeps of each layer for the backward beside its input; one layer's where
  /// memory is short and layers run again.
  ///
  /// In f32 the residual stream between attention and MLP, 1/RMS of two norms, two sums of the soft-max
  /// a head; as operands rotated queries, keys and values, what attention gives, gate and up; where
  /// heads are normed, also queries and keys before that.
  public func activationBytes(_ precision: Precision) -> Int {
    let floats = hiddenSize + 2 + 2 * heads.queryCount
    let normed = family.normsHeads ? (heads.queryCount + heads.keyValueCount) * (heads.size + 1) : 0
    return 4 * (floats + normed)
      + precision.byteCount * (heads.fusedColumns + queryColumns + 2 * intermediateSize)
  }

  /// Bytes that each row keeps of all layers' inputs.
  public var inputBytes: Int { 4 * layerCount * hiddenSize }

  /// Bytes that each row takes once in a forward that keeps nothing: two streams and one layer.
  public func forwardBytes(_ precision: Precision) -> Int {
    4 * 2 * hiddenSize + activationBytes(precision) + workBytes(precision)
  }

  /// Bytes that each row takes once, however many layers are kept: inner values of the layer at work,
  /// its gradients, and the last layer's output.
  public func backwardBytes(_ precision: Precision) -> Int {
    let floats = 3 * hiddenSize + queryColumns + heads.fusedColumns + intermediateSize
    let rounded = precision == .f32 ? 0 : hiddenSize + heads.fusedColumns
    return 4 * floats + precision.byteCount * rounded + workBytes(precision)
  }

  private func workBytes(_ precision: Precision) -> Int {
    let wide = precision == .f32 ? 0 : max(heads.fusedColumns, 2 * intermediateSize)
    return precision.byteCount * (hiddenSize + intermediateSize) + 4 * wide
  }

  /// Bytes that each prediction takes: the head's row before and after the norm, and their gradients.
  public func headRowBytes(_ precision: Precision) -> Int {
    (4 * 3 + precision.byteCount) * hiddenSize
  }

  /// Bytes of logits that are kept between forward and backward.
  ///
  /// - Parameter predictions: predictions of a batch.
  /// - Returns: those of all, or of as many slices as fit.
  public func logitsBytes(predictions: Double) -> Double {
    min(4 * predictions * Double(vocabularySize), Double(Decoder.defaultLogitsLimit))
  }

  /// Bytes that elementwise work (norms, bias, rotation, residual sums, the gated unit) reads and
  /// writes for each row of each layer in the forward; the backward takes about twice as many.
  public func elementwiseBytes(_ precision: Precision) -> Int {
    4 * (6 * hiddenSize + 2 * heads.fusedColumns)
      + precision.byteCount * (2 * hiddenSize + heads.fusedColumns + 3 * intermediateSize)
  }

  /// Bytes of the keys and values of a sequence of so many positions.
  public func cacheBytes(_ precision: Precision, positions: Int) -> Int {
    KeyValueCache.bytes(self, precision: precision, positions: positions)
  }

  /// Operations of attention over a packed row in the forward: 2 · 2 for each pair of a query and a key
  /// that it sees, each query column and each layer.
  ///
  /// - Parameters:
  ///   - prompt: tokens of the prompt, computed once.
  ///   - completions: tokens of each completion that are inputs.
  /// - Returns: floating-point operations.
  public func attentionOperations(prompt: Double, completions: [Double]) -> Double {
    windows.reduce(0) { sum, window in
      let before = visiblePairs(prompt, window)
      let pairs = completions.reduce(before) { $0 + visiblePairs(prompt + $1, window) - before }
      return sum + 4 * Double(queryColumns) * pairs
    }
  }
}

/// Pairs of a position and one that it sees, among the first `count` positions.
private func visiblePairs(_ count: Double, _ window: Int?) -> Double {
  let width = min(count, window.map { Double($0) } ?? count)
  return width * (width + 1) / 2 + (count - width) * width
}
