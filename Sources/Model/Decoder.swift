import Glibc
import Tensor

/// Weights of a decoder: a flat allocation read through its table.
public struct DecoderWeights: @unchecked Sendable {
  /// Sizes and constants.
  public let configuration: DecoderConfiguration
  /// Where each tensor lies.
  public let table: ParameterTable
  /// The flat allocation, `table.floatCount` floats; it must outlive this value.
  public let base: UnsafeMutablePointer<Float>
  /// The adapter on top of them, which then alone is trained; nil for none.
  public let adapter: AdapterWeights?

  /// Weights at `base`.
  public init(
    configuration: DecoderConfiguration, table: ParameterTable, base: UnsafeMutablePointer<Float>,
    adapter: AdapterWeights? = nil
  ) {
    self.configuration = configuration
    self.table = table
    self.base = base
    self.adapter = adapter
  }

  /// Floats of what is trained, and of its gradient.
  public var trainedFloatCount: Int { adapter?.table.floatCount ?? table.floatCount }

  func matrix(_ offset: Int, _ rows: Int, _ columns: Int) -> Matrix {
    Matrix(base: base + offset, rows: rows, columns: columns)
  }
}

/// One layer's values that the backward needs.
final class LayerActivations {
  let input: FloatBuffer
  let attentionInverseRMS: FloatBuffer
  let attentionNormed: FloatBuffer
  let headNorms: HeadNormActivations?
  let fused: FloatBuffer
  let attended: FloatBuffer
  let logSumExp: FloatBuffer
  let middle: FloatBuffer
  let mlpInverseRMS: FloatBuffer
  let mlpNormed: FloatBuffer
  let gateUp: FloatBuffer
  let activation: FloatBuffer

  init(_ c: DecoderConfiguration, rows: Int) {
    input = FloatBuffer(count: rows * c.hiddenSize)
    attentionInverseRMS = FloatBuffer(count: rows)
    attentionNormed = FloatBuffer(count: rows * c.hiddenSize)
    headNorms = c.family.normsHeads ? HeadNormActivations(c.heads, rows: rows) : nil
    fused = FloatBuffer(count: rows * c.heads.fusedColumns)
    attended = FloatBuffer(count: rows * c.heads.queryCount * c.heads.size)
    logSumExp = FloatBuffer(count: rows * c.heads.queryCount)
    middle = FloatBuffer(count: rows * c.hiddenSize)
    mlpInverseRMS = FloatBuffer(count: rows)
    mlpNormed = FloatBuffer(count: rows * c.hiddenSize)
    gateUp = FloatBuffer(count: rows * 2 * c.intermediateSize)
    activation = FloatBuffer(count: rows * c.intermediateSize)
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

/// Forward and backward of a decoder on one rank; owns the activations and nothing else.
///
/// Everything is f32. The vocabulary projection runs on rows that predict a completion token only,
/// in chunks of ``headChunk`` rows.
public final class Decoder {
  /// The weights that forward and backward read.
  public let weights: DecoderWeights
  let compute: Compute
  var layers: [LayerActivations] = []
  var capacity = 0
  var projection = FloatBuffer(count: 0)
  var residual = FloatBuffer(count: 0)
  var logits = FloatBuffer(count: 0)
  /// Logits of ``ReferenceRows``: beside those of the policy, which may be this same decoder.
  var frozenLogits = FloatBuffer(count: 0)

  /// Rows of the vocabulary projection computed together; a constant, so that sums keep their order.
  public static let headChunk = 256

  let adapterSpace = AdapterWorkspace()

  /// A decoder on weights that the caller keeps alive.
  public init(weights: DecoderWeights, compute: Compute) {
    self.weights = weights
    self.compute = compute
  }

  var configuration: DecoderConfiguration { weights.configuration }
  var queryColumns: Int { configuration.heads.queryCount * configuration.heads.size }

  /// Runs the layers over a batch; the residual stream before the last norm stays in `residual`.
  ///
  /// - Parameters:
  ///   - batch: packed token ids, all in 0..<V.
  ///   - keepsActivations: keeps every layer's values for a backward.
  ///   - afterAttentionInput: sees each layer's rotated queries, keys and values (T, fused).
  func runLayers(
    _ batch: PackedBatch, keepsActivations: Bool,
    afterAttentionInput: (_ layer: Int, _ fused: Matrix) -> Void = { _, _ in }
  ) {
    let c = configuration
    let rows = batch.rowCount
    reserve(rows: rows, keepsActivations: keepsActivations)
    let angles = RotaryAngles(positions: batch.positions, embedding: c.rotary)
    embed(batch.tokens, into: layers[0].input.matrix(rows: rows, columns: c.hiddenSize))
    for index in 0..<c.layerCount {
      let layer = layers[keepsActivations ? index : 0]
      let output =
        index + 1 == c.layerCount ? residual : layers[keepsActivations ? index + 1 : 0].input
      attentionForward(index, layer, batch: batch, angles: angles) {
        afterAttentionInput(index, $0)
      }
      mlpForward(index, layer, batch: batch, into: output)
    }
  }

  private func reserve(rows: Int, keepsActivations: Bool) {
    let c = configuration
    let layerCount = keepsActivations ? c.layerCount : 1
    if rows > capacity {
      layers = []
      capacity = rows
      projection = FloatBuffer(count: rows * c.hiddenSize)
      residual = FloatBuffer(count: rows * c.hiddenSize)
    }
    while layers.count < layerCount { layers.append(LayerActivations(c, rows: capacity)) }
  }

  func embed(_ tokens: [Int32], into output: Matrix) {
    let table = weights.matrix(
      weights.table.embedding, configuration.vocabularySize, configuration.hiddenSize)
    for (row, token) in tokens.enumerated() {
      output.row(row).update(from: table.row(Int(token)), count: output.columns)
    }
  }

  private func attentionForward(
    _ index: Int, _ layer: LayerActivations, batch: PackedBatch, angles: RotaryAngles,
    afterAttentionInput: (Matrix) -> Void
  ) {
    let c = configuration
    let rows = batch.rowCount
    let input = layer.input.matrix(rows: rows, columns: c.hiddenSize)
    let fused = layer.fused.matrix(rows: rows, columns: c.heads.fusedColumns)
    projectAttentionInput(
      index, input, normed: layer.attentionNormed.matrix(rows: rows, columns: c.hiddenSize),
      inverseRMS: layer.attentionInverseRMS.base, headNorms: layer.headNorms, angles: angles,
      dropped: batch.dropped, into: fused)
    afterAttentionInput(fused)
    let attended = layer.attended.matrix(rows: rows, columns: queryColumns)
    attended.rows(batch.usedRowCount..<rows).zero()
    compute.attention(
      fused, heads: c.heads, families: batch.families, window: c.windows[index],
      into: attended, logSumExp: layer.logSumExp.base)
    let middle = layer.middle.matrix(rows: rows, columns: c.hiddenSize)
    project(.attentionOutput, layer: index, attended, into: middle, dropped: batch.dropped)
    compute.add(middle, input)
  }

  private func mlpForward(
    _ index: Int, _ layer: LayerActivations, batch: PackedBatch, into output: FloatBuffer
  ) {
    let c = configuration
    let rows = batch.rowCount
    let middle = layer.middle.matrix(rows: rows, columns: c.hiddenSize)
    let projected = projection.matrix(rows: rows, columns: c.hiddenSize)
    runMLP(
      index, middle, normed: layer.mlpNormed.matrix(rows: rows, columns: c.hiddenSize),
      inverseRMS: layer.mlpInverseRMS.base,
      gateUp: layer.gateUp.matrix(rows: rows, columns: 2 * c.intermediateSize),
      activation: layer.activation.matrix(rows: rows, columns: c.intermediateSize),
      dropped: batch.dropped, into: projected)
    let result = output.matrix(rows: rows, columns: c.hiddenSize)
    result.base.update(from: projected.base, count: projected.count)
    compute.add(result, middle)
  }
}

// The steps of a layer that whole sequences and single new tokens share.
extension Decoder {
  /// A projection of a layer with its bias and updates: y = x wᵀ + b + scale · (x Aᵀ) Bᵀ.
  func project(
    _ projection: Projection, layer: Int, _ x: Matrix, into y: Matrix, dropped: DroppedRows?
  ) {
    let offsets = weights.table.layers[layer][projection]
    compute.linear(x, weights.matrix(offsets.weight, y.columns, x.columns), into: y)
    if let bias = offsets.bias { compute.addBias(y, weights.base + bias) }
    addUpdates(projection, layer: layer, x, to: y, dropped: dropped)
  }

  func projectAttentionInput(
    _ index: Int, _ input: Matrix, normed: Matrix, inverseRMS: UnsafeMutablePointer<Float>,
    headNorms: HeadNormActivations?, angles: RotaryAngles, dropped: DroppedRows? = nil,
    into fused: Matrix
  ) {
    let c = configuration
    let offsets = weights.table.layers[index]
    compute.rmsNorm(
      input, weight: weights.base + offsets.attentionNorm, epsilon: c.normEpsilon, into: normed,
      inverseRMS: inverseRMS)
    project(.queryKeyValue, layer: index, normed, into: fused, dropped: dropped)
    if let headNorms, let queryNorm = offsets.queryNorm, let keyNorm = offsets.keyNorm {
      compute.rmsNormHeads(
        fused, heads: c.heads.queries, weight: weights.base + queryNorm, epsilon: c.normEpsilon,
        savingInput: headNorms.queries.base, inverseRMS: headNorms.queryInverseRMS.base)
      compute.rmsNormHeads(
        fused, heads: c.heads.keys, weight: weights.base + keyNorm, epsilon: c.normEpsilon,
        savingInput: headNorms.keys.base, inverseRMS: headNorms.keyInverseRMS.base)
    }
    compute.rotate(
      fused, headCount: c.heads.queryCount + c.heads.keyValueCount, angles: angles,
      inverse: false)
  }

  func runMLP(
    _ index: Int, _ input: Matrix, normed: Matrix, inverseRMS: UnsafeMutablePointer<Float>,
    gateUp: Matrix, activation: Matrix, dropped: DroppedRows? = nil, into output: Matrix
  ) {
    compute.rmsNorm(
      input, weight: weights.base + weights.table.layers[index].mlpNorm,
      epsilon: configuration.normEpsilon, into: normed, inverseRMS: inverseRMS)
    project(.gateUp, layer: index, normed, into: gateUp, dropped: dropped)
    compute.swiGLU(gateUp, into: activation)
    project(.down, layer: index, activation, into: output, dropped: dropped)
  }

  /// The matrix that maps the last norm's output to logits (V, C) or to a score (1, C).
  var headMatrix: Matrix {
    weights.matrix(weights.table.head, configuration.headRows, configuration.hiddenSize)
  }

  /// Room for the logits of `rows` rows.
  func logitsMatrix(
    rows: Int, in buffer: ReferenceWritableKeyPath<Decoder, FloatBuffer> = \.logits
  ) -> Matrix {
    let columns = configuration.vocabularySize
    if self[keyPath: buffer].count < rows * columns {
      self[keyPath: buffer] = FloatBuffer(count: rows * columns)
    }
    return self[keyPath: buffer].matrix(rows: rows, columns: columns)
  }
}

extension AttentionHeads {
  /// The query heads among fused columns.
  var queries: HeadColumns { HeadColumns(offset: 0, count: queryCount, size: size) }
  /// The key heads among fused columns.
  var keys: HeadColumns {
    HeadColumns(offset: queryCount * size, count: keyValueCount, size: size)
  }
}
