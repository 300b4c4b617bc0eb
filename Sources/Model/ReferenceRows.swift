import Tensor

/// What a frozen model says at the predictions of a batch: its last hidden rows and their sums.
///
/// Its logits are computed from them slice by slice where they are needed, never kept whole.
public final class ReferenceRows {
  private let decoder: Decoder
  private let head: HeadRows

  init(decoder: Decoder, head: HeadRows) {
    self.decoder = decoder
    self.head = head
  }

  func withHead(coefficients: [Float], _ body: (ReferenceHead) -> Void) {
    head.sums.withUnsafeBufferPointer { sums in
      guard let base = sums.baseAddress else { return }
      body(
        ReferenceHead(
          head: decoder.vocabularyHead(head), sums: base, coefficients: coefficients))
    }
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

  /// Runs `body` on the reference at `rows` head rows; padding has no κ.
  func withHead(rows: Int, _ body: (ReferenceHead) -> Void) {
    let padding = [Float](repeating: 0, count: rows - coefficients.count)
    reference.withHead(coefficients: coefficients + padding, body)
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
    let stream = runLayers(batch, keepsActivations: false)
    let head = gatherHeadRows(batch.predictionRows, targets: batch.targets, of: stream)
    return (headStatistics(head, keeping: nil), ReferenceRows(decoder: self, head: head))
  }
}
