import Tensor

/// Rows of the residual stream that the head reads, gathered and normed, and what it says of them.
final class HeadRows {
  /// Residual rows (P, C); zero rows at the end.
  let inputs: FloatBuffer
  /// After the last norm (P, C).
  let normed: OperandMatrix
  let inverseRMS: FloatBuffer
  /// The tokens that they predict.
  let targets: [Int32]
  /// Rows without padding.
  let count: Int
  /// Rows with padding to a multiple of 32, whatever the model: a reference's rows are read beside its
  /// policy's.
  let rows: Int
  /// Sums over each row's logits.
  var sums: [SoftmaxSums] = []
  private let normedBuffer: OperandBuffer

  init(
    places: [Int32], targets: [Int32], of stream: Matrix, precision: Precision, isPadded: Bool
  ) {
    count = places.count
    rows = isPadded ? PackedBatch.paddedCount(count) : count
    self.targets = targets + [Int32](repeating: 0, count: rows - targets.count)
    inputs = FloatBuffer(count: rows * stream.columns)
    for (index, row) in places.enumerated() {
      (inputs.base + index * stream.columns).update(
        from: stream.row(Int(row)), count: stream.columns)
    }
    normedBuffer = OperandBuffer(count: rows * stream.columns, precision: precision)
    normed = normedBuffer.matrix(rows: rows, columns: stream.columns)
    inverseRMS = FloatBuffer(count: rows)
  }
}

extension Decoder {
  /// Log-probabilities of a batch's completion tokens.
  ///
  /// - Parameters:
  ///   - batch: packed token ids, all in 0..<V.
  ///   - keepsActivations: keeps what a backward needs.
  ///   - penalty: where the divergence from a reference is wanted too, nil for nowhere.
  /// - Returns: one entry for each of `batch.targets`.
  public func forward(
    _ batch: PackedBatch, keepsActivations: Bool, penalty: DivergencePenalty? = nil
  ) -> [TokenStatistics] {
    precondition(configuration.head == .vocabulary)
    let stream = runLayers(batch, keepsActivations: keepsActivations)
    let head = gatherHeadRows(batch.predictionRows, targets: batch.targets, of: stream)
    lastHead = keepsActivations ? head : nil
    return headStatistics(
      head, keeping: keepsActivations ? headLogits(head) : nil, penalty: penalty)
  }

  func headStatistics(
    _ head: HeadRows, keeping kept: SlicedLogits?, penalty: DivergencePenalty? = nil
  ) -> [TokenStatistics] {
    let vocabulary = vocabularyHead(head)
    head.sums = [SoftmaxSums](unsafeUninitializedCapacity: head.rows) { buffer, count in
      if let base = buffer.baseAddress {
        compute.softmaxSums(vocabulary, targets: head.targets, kept: kept, into: base)
      }
      count = head.rows
    }
    var statistics = head.sums.prefix(head.count).map {
      $0.statistics(count: configuration.vocabularySize)
    }
    guard let penalty else { return statistics }
    penalty.withHead(rows: head.rows) { reference in
      let divergences = compute.divergences(
        vocabulary, sums: head.sums, kept: kept, reference: reference)
      for row in statistics.indices { statistics[row].divergence = divergences[row] }
    }
    return statistics
  }

  func vocabularyHead(_ head: HeadRows) -> VocabularyHead {
    VocabularyHead(inputs: head.normed, weights: headMatrix)
  }

  func gatherHeadRows(
    _ places: [Int32], targets: [Int32] = [], of stream: Matrix, isPadded: Bool = true
  ) -> HeadRows {
    let head = HeadRows(
      places: places, targets: targets, of: stream, precision: headPrecision,
      isPadded: isPadded)
    compute.rmsNorm(
      head.inputs.matrix(rows: head.rows, columns: stream.columns),
      weight: weights.vector(weights.table.finalNorm), epsilon: configuration.normEpsilon,
      into: head.normed, inverseRMS: head.inverseRMS.base)
    return head
  }

  /// What the head reads: a score's is a sum in Double of floats.
  private var headPrecision: Precision {
    configuration.scoreHead == nil ? weights.precision : .f32
  }

  /// Room for the logits that are kept between forward and backward: of all slices, or of the first
  /// that fit.
  func headLogits(_ head: HeadRows) -> SlicedLogits {
    let slices = logitsLimit / 4 / (max(1, head.rows) * VocabularySlices.width)
    return slicedLogits(
      rows: head.rows,
      tokens: min(max(1, slices) * VocabularySlices.width, configuration.vocabularySize))
  }

  func slicedLogits(rows: Int, tokens: Int) -> SlicedLogits {
    if logits.count < rows * tokens { logits = FloatBuffer(count: rows * tokens) }
    return SlicedLogits(
      base: logits.base, rows: rows, slices: VocabularySlices(tokens: tokens))
  }
}
