import Glibc
import Tensor

/// Forward and backward of a decoder on one rank; owns the activations and nothing else.
///
/// The residual stream, norms, soft-max and losses are f32 whatever the weights are; products read f32
/// or bf16 and add up in f32. The vocabulary projection runs on rows that predict a completion token
/// only.
public final class Decoder {
  /// The weights that forward and backward read.
  public let weights: DecoderWeights
  let compute: Compute
  /// Whether batches are computed with their padding, for the sake of weight gradients.
  var padsRows: Bool
  /// Bytes that activations kept for a backward may take; beyond it a layer's are computed again from
  /// its input, with the same bits.
  public var activationLimit = Int.max
  /// Bytes of logits that are kept for a backward, not to be changed before it; the slices of the
  /// vocabulary beyond it are computed again, with the same bits.
  public var logitsLimit = Decoder.defaultLogitsLimit
  /// 640 MiB: of a vocabulary of 152 000 tokens those of a thousand predictions.
  public static let defaultLogitsLimit = 640 << 20
  /// Each layer's input (T, C), and behind them the last layer's output; two in turn where no backward
  /// follows.
  var inputs: [FloatBuffer] = []
  /// Each layer's values, or one layer's where they are not all kept.
  var layers: [LayerActivations] = []
  /// Whether the backward has to run each layer again.
  private(set) var recomputesLayers = false
  private(set) var space: LayerWorkspace
  private var capacity = 0
  /// The rows that the head read in the last forward for a backward.
  var lastHead: HeadRows?
  /// Logits of all rows that the head read, for the first slices of the vocabulary.
  var logits = FloatBuffer(count: 0)
  let adapterSpace: AdapterWorkspace
  /// Bytes of keys and values that generation may hold; at least one row's are.
  public var cacheLimit = Decoder.defaultCacheLimit
  /// Two gibibytes.
  public static let defaultCacheLimit = 1 << 31
  /// Prompt tokens that go through the layers together between two decoding steps.
  var promptChunk = Decoder.defaultPromptChunk
  /// A multiple of attention's tiles, which are then cut in pieces of a prompt as in the whole.
  public static let defaultPromptChunk = 512
  /// Caches of generation, used again by the next.
  var caches: [KeyValueCache] = []
  /// What the last generation took.
  public internal(set) var generationTimes = GenerationTimes()

  /// A decoder on weights that the caller keeps alive.
  public init(weights: DecoderWeights, compute: Compute) {
    self.weights = weights
    self.compute = compute
    let c = weights.configuration
    // An adapter's factors have as many columns as its rank.
    let columns = [c.hiddenSize, c.intermediateSize, c.heads.queryCount * c.heads.size]
    padsRows = weights.adapter != nil || !columns.allSatisfy { compute.sumsAnyRows(columns: $0) }
    space = LayerWorkspace(weights.configuration, rows: 0, precision: weights.precision)
    adapterSpace = AdapterWorkspace(precision: weights.precision)
  }

  var configuration: DecoderConfiguration { weights.configuration }
  var queryColumns: Int { configuration.heads.queryCount * configuration.heads.size }

  /// Runs the layers over a batch.
  ///
  /// - Parameters:
  ///   - batch: packed token ids, all in 0..<V.
  ///   - keepsActivations: keeps what a backward needs.
  ///   - caches: one for each family of the batch, where its keys and values go and are read behind
  ///     those of earlier positions; empty where nothing comes before the batch or after it.
  /// - Returns: the residual stream before the last norm (T, C); overwritten by the next call.
  @discardableResult
  func runLayers(
    _ batch: PackedBatch, keepsActivations: Bool, caches: [KeyValueCache] = []
  ) -> Matrix {
    let c = configuration
    let rows = rowCount(of: batch)
    reserve(rows: rows, keepsActivations: keepsActivations)
    let angles = RotaryAngles(positions: batch.positions, embedding: c.rotary)
    func stream(_ layer: Int) -> Matrix {
      inputs[keepsActivations ? layer : layer % 2].matrix(rows: rows, columns: c.hiddenSize)
    }
    embed(Array(batch.tokens.prefix(rows)), into: stream(0))
    for index in 0..<c.layerCount {
      runLayer(
        index, layers[keepsActivations && !recomputesLayers ? index : 0], batch: batch,
        angles: angles, caches: caches, input: stream(index), into: stream(index + 1))
    }
    return stream(c.layerCount)
  }

  /// Runs one layer over a batch; `output` may be nil if only its activations are wanted.
  func runLayer(
    _ index: Int, _ layer: LayerActivations, batch: PackedBatch, angles: RotaryAngles,
    caches: [KeyValueCache] = [], input: Matrix, into output: Matrix?
  ) {
    let c = configuration
    let rows = input.rows
    let normed = space.normed.matrix(rows: rows, columns: c.hiddenSize)
    let fused = layer.fused.matrix(rows: rows, columns: c.heads.fusedColumns)
    projectAttentionInput(
      index, input, normed: normed, inverseRMS: layer.attentionInverseRMS.base,
      headNorms: layer.headNorms, angles: angles, dropped: batch.dropped, wide: space.wide,
      into: fused)
    let attended = layer.attended.matrix(rows: rows, columns: queryColumns)
    attended.rows(batch.usedRowCount..<rows).zero()
    compute.attention(
      fused, heads: c.heads, families: batch.families,
      caches: zip(caches, batch.lastPromptRows).map {
        $0.layer(index, count: Int(batch.positions[Int($1)]) + 1)
      }, window: c.windows[index], into: attended, normalizers: layer.normalizers.base)
    let middle = layer.middle.matrix(rows: rows, columns: c.hiddenSize)
    project(
      .attentionOutput, layer: index, attended, into: middle.operand, dropped: batch.dropped)
    compute.add(middle, input)
    projectGateUp(
      index, middle, normed: normed, inverseRMS: layer.mlpInverseRMS.base, dropped: batch.dropped,
      wide: space.wide, into: layer.gateUp.matrix(rows: rows, columns: 2 * c.intermediateSize))
    guard let output else { return }
    projectDown(
      index, layer.gateUp.matrix(rows: rows, columns: 2 * c.intermediateSize),
      activation: space.activation.matrix(rows: rows, columns: c.intermediateSize),
      dropped: batch.dropped, into: output)
    compute.add(output, middle)
  }

  /// Rows that a batch is computed with.
  func rowCount(of batch: PackedBatch) -> Int { padsRows ? batch.rowCount : batch.usedRowCount }

  private func reserve(rows: Int, keepsActivations: Bool) {
    let c = configuration
    if rows > capacity {
      inputs = []
      layers = []
      // In steps, so that a few rows more do not take all memory anew.
      capacity = PackedBatch.paddedCount(rows)
      space = LayerWorkspace(c, rows: capacity, precision: weights.precision)
    }
    let streams = keepsActivations ? c.layerCount + 1 : 2
    while inputs.count < streams {
      inputs.append(FloatBuffer(count: capacity * c.hiddenSize))
    }
    if keepsActivations {
      let rowBytes = c.layerCount * c.activationBytes(weights.precision)
      recomputesLayers = capacity * rowBytes > activationLimit
      if recomputesLayers { layers = Array(layers.prefix(1)) }
    }
    while layers.count < (keepsActivations && !recomputesLayers ? c.layerCount : 1) {
      layers.append(LayerActivations(c, rows: capacity, precision: weights.precision))
    }
  }

  func embed(_ tokens: [Int32], into output: Matrix) {
    let table = weights.matrix(
      weights.table.embedding, configuration.vocabularySize, configuration.hiddenSize)
    compute.gatherRows(of: table, at: tokens, into: output)
  }
}

// The steps of a layer that whole sequences and single new tokens share.
extension Decoder {
  /// A projection of a layer with its bias and updates: y = x wᵀ + b + scale · (x Aᵀ) Bᵀ.
  ///
  /// `wide` holds y before it is rounded where something is added to it first.
  func project(
    _ projection: Projection, layer: Int, _ x: OperandMatrix, into y: OperandMatrix,
    dropped: DroppedRows?, wide: FloatBuffer? = nil
  ) {
    let offsets = weights.table.layers[layer][projection]
    let weight = weights.matrix(offsets.weight, y.columns, x.columns)
    if let floats = y.floats {
      compute.linear(x, weight, into: y)
      if let bias = offsets.bias { compute.addBias(floats, weights.vector(bias)) }
      addUpdates(projection, layer: layer, x, to: floats, dropped: dropped)
    } else if let wide, offsets.bias != nil || weights.adapter != nil {
      let floats = wide.matrix(rows: y.rows, columns: y.columns)
      project(projection, layer: layer, x, into: floats.operand, dropped: dropped)
      compute.round(floats, into: y)
    } else {
      compute.linear(x, weight, into: y)
    }
  }

  func projectAttentionInput(
    _ index: Int, _ input: Matrix, normed: OperandMatrix, inverseRMS: UnsafeMutablePointer<Float>,
    headNorms: HeadNormActivations?, angles: RotaryAngles, dropped: DroppedRows? = nil,
    wide: FloatBuffer, into fused: OperandMatrix
  ) {
    let c = configuration
    let offsets = weights.table.layers[index]
    compute.rmsNorm(
      input, weight: weights.vector(offsets.attentionNorm), epsilon: c.normEpsilon, into: normed,
      inverseRMS: inverseRMS)
    let floats = fused.floats ?? wide.matrix(rows: fused.rows, columns: fused.columns)
    project(.queryKeyValue, layer: index, normed, into: floats.operand, dropped: dropped)
    if let headNorms, let queryNorm = offsets.queryNorm, let keyNorm = offsets.keyNorm {
      compute.rmsNormHeads(
        floats, heads: c.heads.queries, weight: weights.vector(queryNorm),
        epsilon: c.normEpsilon, savingInput: headNorms.queries.base,
        inverseRMS: headNorms.queryInverseRMS.base)
      compute.rmsNormHeads(
        floats, heads: c.heads.keys, weight: weights.vector(keyNorm), epsilon: c.normEpsilon,
        savingInput: headNorms.keys.base, inverseRMS: headNorms.keyInverseRMS.base)
    }
    compute.rotate(
      floats, headCount: c.heads.queryCount + c.heads.keyValueCount, angles: angles,
      inverse: false)
    if fused.precision == .bf16 { compute.round(floats, into: fused) }
  }

  func projectGateUp(
    _ index: Int, _ input: Matrix, normed: OperandMatrix, inverseRMS: UnsafeMutablePointer<Float>,
    dropped: DroppedRows? = nil, wide: FloatBuffer, into gateUp: OperandMatrix
  ) {
    compute.rmsNorm(
      input, weight: weights.vector(weights.table.layers[index].mlpNorm),
      epsilon: configuration.normEpsilon, into: normed, inverseRMS: inverseRMS)
    project(.gateUp, layer: index, normed, into: gateUp, dropped: dropped, wide: wide)
  }

  func projectDown(
    _ index: Int, _ gateUp: OperandMatrix, activation: OperandMatrix,
    dropped: DroppedRows? = nil, into output: Matrix
  ) {
    compute.swiGLU(gateUp, into: activation)
    project(.down, layer: index, activation, into: output.operand, dropped: dropped)
  }

  /// The matrix that maps the last norm's output to logits (V, C).
  var headMatrix: OperandMatrix {
    weights.matrix(weights.table.head, configuration.headRows, configuration.hiddenSize)
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
