import Tensor

/// One layer's values that the backward needs, beside its input.
final class LayerActivations {
  let attentionInverseRMS: FloatBuffer
  let headNorms: HeadNormActivations?
  /// Rotated queries and keys, and values.
  let fused: OperandBuffer
  let attended: OperandBuffer
  let normalizers: FloatBuffer
  /// The residual stream between attention and MLP.
  let middle: FloatBuffer
  let mlpInverseRMS: FloatBuffer
  let gateUp: OperandBuffer

  init(_ c: DecoderConfiguration, rows: Int, precision: Precision) {
    attentionInverseRMS = FloatBuffer(count: rows)
    headNorms = c.family.normsHeads ? HeadNormActivations(c.heads, rows: rows) : nil
    fused = OperandBuffer(count: rows * c.heads.fusedColumns, precision: precision)
    attended = OperandBuffer(
      count: rows * c.heads.queryCount * c.heads.size, precision: precision)
    normalizers = FloatBuffer(count: 2 * rows * c.heads.queryCount)
    middle = FloatBuffer(count: rows * c.hiddenSize)
    mlpInverseRMS = FloatBuffer(count: rows)
    gateUp = OperandBuffer(count: rows * 2 * c.intermediateSize, precision: precision)
  }
}

/// What the backward of the norms of queries and keys needs: the heads before them, and 1/RMS.
final class HeadNormActivations {
  let queries: FloatBuffer
  let queryInverseRMS: FloatBuffer
  let keys: FloatBuffer
  let keyInverseRMS: FloatBuffer

  init(_ heads: AttentionHeads, rows: Int) {
    queries = FloatBuffer(count: rows * heads.queryCount * heads.size)
    queryInverseRMS = FloatBuffer(count: rows * heads.queryCount)
    keys = FloatBuffer(count: rows * heads.keyValueCount * heads.size)
    keyInverseRMS = FloatBuffer(count: rows * heads.keyValueCount)
  }
}

/// Values of a layer that are gone with it, of whole sequences or of single new tokens.
final class LayerWorkspace {
  /// A norm's output, the input of a product.
  let normed: OperandBuffer
  /// Wide outputs before they are rounded; empty in f32, where they are written in place.
  let wide: FloatBuffer
  let activation: OperandBuffer
  let rows: Int

  init(_ c: DecoderConfiguration, rows: Int, precision: Precision) {
    self.rows = rows
    normed = OperandBuffer(count: rows * c.hiddenSize, precision: precision)
    let widest = max(c.heads.fusedColumns, 2 * c.intermediateSize)
    wide = FloatBuffer(count: precision == .f32 ? 0 : rows * widest)
    activation = OperandBuffer(count: rows * c.intermediateSize, precision: precision)
  }
}
