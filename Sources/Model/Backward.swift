import Tensor

/// Memory of the backward: gradients of the residual stream and of a layer's inner values.
final class BackwardWorkspace {
  let dResidual: FloatBuffer
  let dNormed: FloatBuffer
  let dAttended: FloatBuffer
  let dFused: FloatBuffer
  let dActivation: FloatBuffer
  let rows: Int

  init(_ c: DecoderConfiguration, rows: Int) {
    self.rows = rows
    dResidual = FloatBuffer(count: rows * c.hiddenSize)
    dNormed = FloatBuffer(count: rows * c.hiddenSize)
    dAttended = FloatBuffer(count: rows * c.heads.queryCount * c.heads.size)
    dFused = FloatBuffer(count: rows * c.heads.fusedColumns)
    dActivation = FloatBuffer(count: rows * c.intermediateSize)
  }
}

/// Gradients of one group of rows, added to a flat gradient.
public final class DecoderBackward {
  private let decoder: Decoder
  private let compute: Compute
  private var workspace: BackwardWorkspace?
  // Collects what comes in several parts (head chunks, embedding rows), then is added once.
  private let vocabularyGradient: FloatBuffer

  /// Backward of `decoder`'s forward.
  public init(_ decoder: Decoder) {
    self.decoder = decoder
    compute = decoder.compute
    let c = decoder.configuration
    let trainsVocabulary = decoder.weights.adapter == nil
    vocabularyGradient = FloatBuffer(
      count: trainsVocabulary ? c.vocabularySize * c.hiddenSize : 0)
  }

  /// Whether the weights are trained, not an adapter on top of them.
  private var trainsWeights: Bool { decoder.weights.adapter == nil }

  private var configuration: DecoderConfiguration { decoder.configuration }
  private var table: ParameterTable { decoder.weights.table }

  /// Adds ∂/∂w Σ c · log p(target) of the last forward's batch to a flat gradient; w are the weights,
  /// or the adapter on them where there is one.
  ///
  /// Each tensor's gradient over the whole batch is finished first, then added once, so that
  /// `gradient` ends with the same bits whether it was zero or held other groups' sum and this one
  /// was added afterwards.
  /// - Parameters:
  ///   - batch: the batch of the last forward, which kept its activations.
  ///   - coefficients: c, one for each of `batch.targets`.
  ///   - penalty: adds ∂/∂w Σ κ · KL(π_ref ‖ π) at the predictions; nil for none.
  ///   - gradient: as many floats as what is trained, added to.
  public func backward(
    _ batch: PackedBatch, coefficients: [Float], penalty: DivergencePenalty? = nil,
    addingTo gradient: UnsafeMutablePointer<Float>
  ) {
    precondition(coefficients.count == batch.targets.count)
    backward(batch, addingTo: gradient) { dResidual in
      headBackward(
        batch, coefficients: coefficients, penalty: penalty, dResidual: dResidual,
        gradient: gradient)
      guard trainsWeights, !table.isTied else { return }
      flushVocabularyGradient(into: gradient + table.head)
      vocabularyGradient.zero()
    }
  }

  /// Adds ∂/∂w Σ c · score of the last ``Decoder/scores(_:keepsActivations:)`` to a flat gradient, as
  /// ``backward(_:coefficients:penalty:addingTo:)`` does.
  ///
  /// - Parameters:
  ///   - batch: the batch of the last forward, which kept its activations.
  ///   - coefficients: c, one for each of `batch.scoreRows`.
  ///   - gradient: as many floats as what is trained, added to.
  public func scoreBackward(
    _ batch: PackedBatch, coefficients: [Double],
    addingTo gradient: UnsafeMutablePointer<Float>
  ) {
    precondition(coefficients.count == batch.scoreRows.count)
    backward(batch, addingTo: gradient) { dResidual in
      let head = decoder.gatherHeadRows(batch.scoreRows)
      if head.rows == 0 { return }
      let dNormed = decoder.scoreHeadBackward(
        head, coefficients: coefficients, addingTo: trainsWeights ? gradient : nil)
      lastNormBackward(
        head, dNormed.matrix(rows: head.rows, columns: configuration.hiddenSize),
        places: batch.scoreRows, dResidual: dResidual, gradient: gradient)
    }
  }

  /// The layers' backward after the head's, which adds to the residual stream's gradient.
  private func backward(
    _ batch: PackedBatch, addingTo gradient: UnsafeMutablePointer<Float>,
    head: (_ dResidual: Matrix) -> Void
  ) {
    let c = configuration
    let rows = batch.rowCount
    let space: BackwardWorkspace
    if let workspace, workspace.rows >= rows {
      space = workspace
    } else {
      space = BackwardWorkspace(c, rows: rows)
      workspace = space
    }
    let dResidual = space.dResidual.matrix(rows: rows, columns: c.hiddenSize)
    dResidual.zero()
    vocabularyGradient.zero()
    head(dResidual)
    let angles = RotaryAngles(positions: batch.positions, embedding: c.rotary)
    for index in stride(from: c.layerCount - 1, through: 0, by: -1) {
      mlpBackward(index, batch: batch, space, dResidual, gradient)
      attentionBackward(index, batch: batch, angles: angles, space, dResidual, gradient)
    }
    guard trainsWeights else { return }
    embeddingBackward(batch, dResidual)
    flushVocabularyGradient(into: gradient + table.embedding)
  }

  private func headBackward(
    _ batch: PackedBatch, coefficients: [Float], penalty: DivergencePenalty?, dResidual: Matrix,
    gradient: UnsafeMutablePointer<Float>
  ) {
    let c = configuration
    let head = decoder.gatherHeadRows(batch.predictionRows, targets: batch.targets)
    if head.rows == 0 { return }
    let padded = coefficients + [Float](repeating: 0, count: head.rows - head.count)
    let dNormedBuffer = FloatBuffer(count: head.rows * c.hiddenSize)
    let dNormed = dNormedBuffer.matrix(rows: head.rows, columns: c.hiddenSize)
    let dHead =
      trainsWeights
      ? vocabularyGradient.matrix(rows: c.vocabularySize, columns: c.hiddenSize) : nil
    decoder.forEachHeadChunk(head) { range, normed, logits in
      compute.linear(normed, decoder.headMatrix, into: logits)
      let chunk = Array(padded[range])
      let targets = Array(head.targets[range])
      if let penalty, let divergenceCoefficients = penalty.chunk(range) {
        compute.logSoftmaxAndDivergenceBackward(
          inPlace: logits, targets: targets, coefficients: chunk,
          reference: penalty.reference.logits(range),
          divergenceCoefficients: divergenceCoefficients)
      } else {
        compute.logSoftmaxBackward(inPlace: logits, targets: targets, coefficients: chunk)
      }
      compute.linearInputGradient(logits, decoder.headMatrix, into: dNormed.rows(range))
      if let dHead { compute.linearWeightGradient(logits, normed, addingTo: dHead) }
    }
    lastNormBackward(
      head, dNormed, places: batch.predictionRows, dResidual: dResidual, gradient: gradient)
  }

  /// Backward of the last norm on the rows that the head read.
  private func lastNormBackward(
    _ head: HeadRows, _ dNormed: Matrix, places: [Int32], dResidual: Matrix,
    gradient: UnsafeMutablePointer<Float>
  ) {
    let c = configuration
    let inputs = head.inputs.matrix(rows: head.rows, columns: c.hiddenSize)
    if trainsWeights {
      compute.rmsNormWeightGradient(
        dNormed, x: inputs, inverseRMS: head.inverseRMS.base,
        addingTo: gradient + table.finalNorm)
    }
    let dInputsBuffer = FloatBuffer(count: head.rows * c.hiddenSize)
    let dInputs = dInputsBuffer.matrix(rows: head.rows, columns: c.hiddenSize)
    compute.rmsNormBackward(
      dNormed, x: inputs, weight: decoder.weights.base + table.finalNorm,
      inverseRMS: head.inverseRMS.base, addingTo: dInputs)
    compute.addRows(dInputs, to: dResidual, at: places)
  }

  private func mlpBackward(
    _ index: Int, batch: PackedBatch, _ space: BackwardWorkspace, _ dResidual: Matrix,
    _ gradient: UnsafeMutablePointer<Float>
  ) {
    let c = configuration
    let rows = batch.rowCount
    let layer = decoder.layers[index]
    let activation = layer.activation.matrix(rows: rows, columns: c.intermediateSize)
    let gateUp = layer.gateUp.matrix(rows: rows, columns: 2 * c.intermediateSize)
    let dActivation = space.dActivation.matrix(rows: rows, columns: c.intermediateSize)
    projectionBackward(
      .down, layer: index, dOutput: dResidual, input: activation, into: dActivation,
      dropped: batch.dropped, gradient)
    compute.swiGLUBackward(dActivation, inPlace: gateUp)
    let dNormed = space.dNormed.matrix(rows: rows, columns: c.hiddenSize)
    projectionBackward(
      .gateUp, layer: index, dOutput: gateUp,
      input: layer.mlpNormed.matrix(rows: rows, columns: c.hiddenSize), into: dNormed,
      dropped: batch.dropped, gradient)
    normBackward(
      dNormed, input: layer.middle.matrix(rows: rows, columns: c.hiddenSize),
      norm: table.layers[index].mlpNorm, inverseRMS: layer.mlpInverseRMS.base, dResidual, gradient)
  }

  private func attentionBackward(
    _ index: Int, batch: PackedBatch, angles: RotaryAngles, _ space: BackwardWorkspace,
    _ dResidual: Matrix, _ gradient: UnsafeMutablePointer<Float>
  ) {
    let c = configuration
    let rows = batch.rowCount
    let layer = decoder.layers[index]
    let offsets = table.layers[index]
    let attended = layer.attended.matrix(rows: rows, columns: decoder.queryColumns)
    let fused = layer.fused.matrix(rows: rows, columns: c.heads.fusedColumns)
    let dAttended = space.dAttended.matrix(rows: rows, columns: decoder.queryColumns)
    let dFused = space.dFused.matrix(rows: rows, columns: c.heads.fusedColumns)
    projectionBackward(
      .attentionOutput, layer: index, dOutput: dResidual, input: attended, into: dAttended,
      dropped: batch.dropped, gradient)
    dFused.rows(batch.usedRowCount..<rows).zero()
    compute.attentionBackward(
      dAttended, output: attended, fused: fused, heads: c.heads, families: batch.families,
      window: c.windows[index], logSumExp: layer.logSumExp.base, into: dFused)
    compute.rotate(
      dFused, headCount: c.heads.queryCount + c.heads.keyValueCount, angles: angles,
      inverse: true)
    headNormsBackward(layer, offsets, dFused, gradient)
    let dNormed = space.dNormed.matrix(rows: rows, columns: c.hiddenSize)
    projectionBackward(
      .queryKeyValue, layer: index, dOutput: dFused,
      input: layer.attentionNormed.matrix(rows: rows, columns: c.hiddenSize), into: dNormed,
      dropped: batch.dropped, gradient)
    normBackward(
      dNormed, input: layer.input.matrix(rows: rows, columns: c.hiddenSize),
      norm: offsets.attentionNorm, inverseRMS: layer.attentionInverseRMS.base, dResidual,
      gradient)
  }

  /// Backward of a projection: its input's gradient, overwritten, and those of what is trained of it.
  private func projectionBackward(
    _ projection: Projection, layer: Int, dOutput: Matrix, input: Matrix, into dInput: Matrix,
    dropped: DroppedRows?, _ gradient: UnsafeMutablePointer<Float>
  ) {
    let offsets = table.layers[layer][projection]
    compute.linearInputGradient(
      dOutput, decoder.weights.matrix(offsets.weight, dOutput.columns, input.columns),
      into: dInput)
    guard trainsWeights else {
      decoder.updatesBackward(
        projection, layer: layer, dOutput: dOutput, input: input, addingTo: dInput,
        dropped: dropped, gradient: gradient)
      return
    }
    compute.linearWeightGradient(
      dOutput, input,
      addingTo: Matrix(
        base: gradient + offsets.weight, rows: dOutput.columns, columns: input.columns))
    if let bias = offsets.bias { compute.biasGradient(dOutput, addingTo: gradient + bias) }
  }

  /// Backward of the norms of queries and keys, in place, where the decoder has them.
  private func headNormsBackward(
    _ layer: LayerActivations, _ offsets: ParameterTable.LayerOffsets, _ dFused: Matrix,
    _ gradient: UnsafeMutablePointer<Float>
  ) {
    guard let saved = layer.headNorms, let queryNorm = offsets.queryNorm,
      let keyNorm = offsets.keyNorm
    else { return }
    let heads = configuration.heads
    for (columns, norm, input, inverseRMS) in [
      (heads.queries, queryNorm, saved.queries, saved.queryInverseRMS),
      (heads.keys, keyNorm, saved.keys, saved.keyInverseRMS),
    ] {
      if trainsWeights {
        compute.rmsNormHeadsWeightGradient(
          dFused, heads: columns, input: input.base, inverseRMS: inverseRMS.base,
          addingTo: gradient + norm)
      }
      compute.rmsNormHeadsBackward(
        dFused, heads: columns, weight: decoder.weights.base + norm, input: input.base,
        inverseRMS: inverseRMS.base)
    }
  }

  /// Backward of a norm, added to the residual stream's gradient.
  private func normBackward(
    _ dNormed: Matrix, input: Matrix, norm: Int, inverseRMS: UnsafePointer<Float>,
    _ dResidual: Matrix, _ gradient: UnsafeMutablePointer<Float>
  ) {
    if trainsWeights {
      compute.rmsNormWeightGradient(
        dNormed, x: input, inverseRMS: inverseRMS, addingTo: gradient + norm)
    }
    compute.rmsNormBackward(
      dNormed, x: input, weight: decoder.weights.base + norm, inverseRMS: inverseRMS,
      addingTo: dResidual)
  }

  private func embeddingBackward(_ batch: PackedBatch, _ dResidual: Matrix) {
    let c = configuration
    let target = vocabularyGradient.matrix(rows: c.vocabularySize, columns: c.hiddenSize)
    compute.addRows(
      dResidual.rows(0..<batch.usedRowCount), to: target,
      at: Array(batch.tokens.prefix(batch.usedRowCount)))
  }

  private func flushVocabularyGradient(into target: UnsafeMutablePointer<Float>) {
    let c = configuration
    compute.add(
      Matrix(base: target, rows: c.vocabularySize, columns: c.hiddenSize),
      vocabularyGradient.matrix(rows: c.vocabularySize, columns: c.hiddenSize))
  }
}
