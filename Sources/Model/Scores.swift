import Tensor

extension Decoder {
  /// Scores of a batch's sequences under a reward head.
  ///
  /// The head is one row: its product is a sum in Double over the columns in order, which depends on
  /// nothing but the row.
  /// - Parameters:
  ///   - batch: sequences packed for this head, all token ids in 0..<V.
  ///   - keepsActivations: keeps what ``DecoderBackward/scoreBackward(_:coefficients:addingTo:startsAtZero:)`` needs.
  /// - Returns: one score for each of `batch.scoreRows`.
  public func scores(_ batch: PackedBatch, keepsActivations: Bool) -> [Double] {
    guard case .score(let score) = configuration.head else {
      preconditionFailure("the decoder has no reward head")
    }
    let stream = runLayers(batch, keepsActivations: keepsActivations)
    let head = gatherHeadRows(batch.scoreRows, of: stream)
    lastHead = keepsActivations ? head : nil
    let weight = weights.vector(weights.table.head)
    let bias = weights.table.headBias.map { Double(weights.vector($0).pointee) } ?? 0
    let rows = head.normed.base.assumingMemoryBound(to: Float.self)
    let normalization = score.normalization
    return (0..<head.count).map { row in
      let normed = rows + row * configuration.hiddenSize
      let output = (0..<configuration.hiddenSize).reduce(0) {
        $0 + Double(normed[$1]) * Double(weight[$1])
      }
      return (output + bias - normalization.mean) / normalization.deviation
    }
  }

  /// Backward of the head: the gradient of its inputs, and those of its weights, finished over all rows
  /// and then added.
  ///
  /// - Parameters:
  ///   - head: the rows of the forward.
  ///   - coefficients: ∂/∂score of each row.
  ///   - gradient: the flat gradient, nil if the head stays as it is.
  /// - Returns: the inputs' gradient (P, C), zero in the padding.
  func scoreHeadBackward(
    _ head: HeadRows, coefficients: [Double], addingTo gradient: UnsafeMutablePointer<Float>?
  ) -> FloatBuffer {
    let columns = configuration.hiddenSize
    let deviation = configuration.scoreHead?.normalization.deviation ?? 1
    let slopes = coefficients.map { $0 / deviation }
    let weight = weights.vector(weights.table.head)
    let normed = head.normed.base.assumingMemoryBound(to: Float.self)
    let dNormed = FloatBuffer(count: head.rows * columns)
    for (row, slope) in slopes.enumerated() {
      let target = dNormed.base + row * columns
      for column in 0..<columns { target[column] = Float(slope * Double(weight[column])) }
    }
    guard let gradient else { return dNormed }
    for column in 0..<columns {
      let sum = slopes.indices.reduce(0) {
        $0 + slopes[$1] * Double(normed[$1 * columns + column])
      }
      gradient[weights.table.head + column] += Float(sum)
    }
    if let bias = weights.table.headBias { gradient[bias] += Float(slopes.reduce(0, +)) }
    return dNormed
  }
}
