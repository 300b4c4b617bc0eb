import Tensor

/// What a frozen model says at the predictions of a batch: its last hidden rows.
///
/// Its logits are computed from them chunk by chunk where they are needed, never kept whole.
public final class ReferenceRows {
  let decoder: Decoder
  let head: HeadRows

  init(decoder: Decoder, head: HeadRows) {
    self.decoder = decoder
    self.head = head
  }

  /// The frozen model's logits (M, V) at a range of predictions; overwritten by the next call, of these
  /// rows or of others.
  func logits(_ range: Range<Int>) -> Matrix {
    let result = decoder.logitsMatrix(rows: range.count, in: \.frozenLogits)
    let normed = head.normed.matrix(
      rows: head.rows, columns: decoder.configuration.hiddenSize)
    decoder.compute.linear(normed.rows(range), decoder.headMatrix, into: result)
    return result
  }
}

/// A penalty κ · KL(π_ref ‖ π) at each prediction of a batch (SAIL-RevKL, arXiv 2606.31524).
public struct DivergencePenalty {
  /// The reference at the same predictions.
  public var reference: ReferenceRows
  /// κ, one for each of the batch's targets; 0 leaves a prediction out.
  public var coefficients: [Float]

  /// A penalty from its parts.
  public init(reference: ReferenceRows, coefficients: [Float]) {
    self.reference = reference
    self.coefficients = coefficients
  }

  /// The coefficients of a chunk of head rows, nil if all are 0; padding has none.
  func chunk(_ range: Range<Int>) -> [Float]? {
    let part = range.map { $0 < coefficients.count ? coefficients[$0] : 0 }
    return part.contains { $0 != 0 } ? part : nil
  }
}

extension Decoder {
  /// Log-probabilities of a batch and the last hidden rows, for a model that stays frozen.
  ///
  /// - Parameter batch: packed token ids, all in 0..<V.
  /// - Returns: one entry for each of `batch.targets`, and the rows.
  public func referenceForward(
    _ batch: PackedBatch
  ) -> (statistics: [TokenStatistics], rows: ReferenceRows) {
    runLayers(batch, keepsActivations: false)
    let head = gatherHeadRows(batch.predictionRows, targets: batch.targets)
    return (headStatistics(head), ReferenceRows(decoder: self, head: head))
  }
}
