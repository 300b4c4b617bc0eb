import Tensor

/// Rows of the residual stream that the head reads, gathered and normed.
struct HeadRows {
  /// Residual rows (P, C), P a multiple of 32; zero rows at the end.
  let inputs: FloatBuffer
  /// After the last norm (P, C).
  let normed: FloatBuffer
  let inverseRMS: FloatBuffer
  /// The tokens that they predict.
  let targets: [Int32]
  /// Rows without padding.
  let count: Int
  /// Rows with padding.
  let rows: Int
}

extension Decoder {
  /// Log-probabilities of a batch's completion tokens.
  ///
  /// - Parameters:
  ///   - batch: packed token ids, all in 0..<V.
  ///   - keepsActivations: keeps what ``backward(_:coefficients:addingTo:)`` needs.
  ///   - penalty: where the divergence from a reference is wanted too, nil for nowhere.
  /// - Returns: one entry for each of `batch.targets`.
  public func forward(
    _ batch: PackedBatch, keepsActivations: Bool, penalty: DivergencePenalty? = nil
  ) -> [TokenStatistics] {
    precondition(configuration.head == .vocabulary)
    runLayers(batch, keepsActivations: keepsActivations)
    return headStatistics(
      gatherHeadRows(batch.predictionRows, targets: batch.targets), penalty: penalty)
  }

  func headStatistics(_ head: HeadRows, penalty: DivergencePenalty? = nil) -> [TokenStatistics] {
    var statistics = [TokenStatistics](repeating: TokenStatistics(), count: head.rows)
    forEachHeadChunk(head) { range, normed, logits in
      compute.linear(normed, headMatrix, into: logits)
      head.targets.withUnsafeBufferPointer { targets in
        statistics.withUnsafeMutableBufferPointer { buffer in
          guard let target = targets.baseAddress, let result = buffer.baseAddress else { return }
          compute.tokenStatistics(
            logits, targets: target + range.lowerBound, into: result + range.lowerBound)
        }
      }
      guard let penalty, let coefficients = penalty.chunk(range) else { return }
      var divergences = [Double](repeating: 0, count: range.count)
      compute.divergences(
        logits, reference: penalty.reference.logits(range), coefficients: coefficients,
        into: &divergences)
      for (row, divergence) in zip(range, divergences) { statistics[row].divergence = divergence }
    }
    return Array(statistics.prefix(head.count))
  }

  func gatherHeadRows(_ places: [Int32], targets: [Int32] = []) -> HeadRows {
    let c = configuration
    let count = places.count
    let rows = (count + 31) / 32 * 32
    let inputs = FloatBuffer(count: rows * c.hiddenSize)
    for (index, row) in places.enumerated() {
      (inputs.base + index * c.hiddenSize).update(
        from: residual.base + Int(row) * c.hiddenSize, count: c.hiddenSize)
    }
    let normed = FloatBuffer(count: rows * c.hiddenSize)
    let inverseRMS = FloatBuffer(count: rows)
    compute.rmsNorm(
      inputs.matrix(rows: rows, columns: c.hiddenSize),
      weight: weights.base + weights.table.finalNorm, epsilon: c.normEpsilon,
      into: normed.matrix(rows: rows, columns: c.hiddenSize), inverseRMS: inverseRMS.base)
    let targets = targets + [Int32](repeating: 0, count: rows - targets.count)
    return HeadRows(
      inputs: inputs, normed: normed, inverseRMS: inverseRMS, targets: targets, count: count,
      rows: rows)
  }

  func forEachHeadChunk(
    _ head: HeadRows, _ body: (_ range: Range<Int>, _ normed: Matrix, _ logits: Matrix) -> Void
  ) {
    let normed = head.normed.matrix(rows: head.rows, columns: configuration.hiddenSize)
    for start in stride(from: 0, to: head.rows, by: Decoder.headChunk) {
      let range = start..<min(head.rows, start + Decoder.headChunk)
      body(range, normed.rows(range), logitsMatrix(rows: range.count))
    }
  }
}
