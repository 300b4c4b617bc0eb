import Tensor

/// Memory of the backward: gradients of the residual stream and of a layer's inner values.
private final class BackwardWorkspace {
  let dResidual: FloatBuffer
  /// The residual stream's gradient as products read it; empty in f32.
  let dOutput: OperandBuffer
  let dNormed: FloatBuffer
  let dAttended: FloatBuffer
  let dFused: FloatBuffer
  /// As products read it; empty in f32.
  let dFusedRounded: OperandBuffer
  let dActivation: FloatBuffer
  let rows: Int

  init(_ c: DecoderConfiguration, rows: Int, precision: Precision) {
    self.rows = rows
    let roundedRows = precision == .f32 ? 0 : rows
    dResidual = FloatBuffer(count: rows * c.hiddenSize)
    dOutput = OperandBuffer(count: roundedRows * c.hiddenSize, precision: precision)
    dNormed = FloatBuffer(count: rows * c.hiddenSize)
    dAttended = FloatBuffer(count: rows * c.heads.queryCount * c.heads.size)
    dFused = FloatBuffer(count: rows * c.heads.fusedColumns)
    dFusedRounded = OperandBuffer(
      count: roundedRows * c.heads.fusedColumns, precision: precision)
    dActivation = FloatBuffer(count: rows * c.intermediateSize)
  }
}

/// Gradients of one group of rows, added to a flat gradient.
public final class DecoderBackward {
  private let decoder: Decoder
  private let compute: Compute
  private var workspace: BackwardWorkspace?

  /// Backward of `decoder`'s forward.
  public init(_ decoder: Decoder) {
    self.decoder = decoder
    compute = decoder.compute
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
  ///   - startsAtZero: whether `gradient` counts as zero, whatever it holds; but the gaps of the table,
  ///     which stay as they are, have to be zero.
  public func backward(
    _ batch: PackedBatch, coefficients: [Float], penalty: DivergencePenalty? = nil,
    addingTo gradient: UnsafeMutablePointer<Float>, startsAtZero: Bool = false
  ) {
    precondition(coefficients.count == batch.targets.count)
    backward(batch, addingTo: gradient, startsAtZero: startsAtZero) { head, dResidual in
      headBackward(
        batch, head, coefficients: coefficients, penalty: penalty, dResidual: dResidual,
        gradient, startsAtZero: startsAtZero)
    }
  }

  /// Adds ∂/∂w Σ c · score of the last ``Decoder/scores(_:keepsActivations:)`` to a flat gradient, as
  /// ``backward(_:coefficients:penalty:addingTo:startsAtZero:)`` does.
  ///
  /// - Parameters:
  ///   - batch: the batch of the last forward, which kept its activations.
  ///   - coefficients: c, one for each of `batch.scoreRows`.
  ///   - gradient: as many floats as what is trained, added to.
  ///   - startsAtZero: whether `gradient` counts as zero, whatever it holds; but the gaps of the table,
  ///     which stay as they are, have to be zero.
  public func scoreBackward(
    _ batch: PackedBatch, coefficients: [Double],
    addingTo gradient: UnsafeMutablePointer<Float>, startsAtZero: Bool = false
  ) {
    precondition(coefficients.count == batch.scoreRows.count)
    backward(batch, addingTo: gradient, startsAtZero: startsAtZero) { head, dResidual in
      let dNormed = decoder.scoreHeadBackward(
        head, coefficients: coefficients, addingTo: trainsWeights ? gradient : nil)
      lastNormBackward(
        head, dNormed.matrix(rows: head.rows, columns: configuration.hiddenSize),
        places: batch.scoreRows, dResidual: dResidual, gradient: gradient)
    }
  }

  /// The layers' backward after the head's, which adds to the residual stream's gradient.
  private func backward(
    _ batch: PackedBatch, addingTo gradient: UnsafeMutablePointer<Float>, startsAtZero: Bool,
    head: (_ rows: HeadRows, _ dResidual: Matrix) -> Void
  ) {
    let c = configuration
    let rows = decoder.rowCount(of: batch)
    let space: BackwardWorkspace
    if let workspace, workspace.rows >= rows {
      space = workspace
    } else {
      space = BackwardWorkspace(
        c, rows: PackedBatch.paddedCount(rows), precision: decoder.weights.precision)
      workspace = space
    }
    let dResidual = space.dResidual.matrix(rows: rows, columns: c.hiddenSize)
    dResidual.zero()
    guard let headRows = decoder.lastHead else {
      preconditionFailure("the last forward kept nothing for a backward")
    }
    if startsAtZero { zeroWhatIsAddedTo(gradient, writesHead: headRows.count > 0) }
    let embedding =
      trainsWeights
      ? EmbeddingGradient(
        Matrix(base: gradient + table.embedding, rows: c.vocabularySize, columns: c.hiddenSize),
        tokens: Array(batch.tokens.prefix(batch.usedRowCount)), startsAtZero: startsAtZero) : nil
    if headRows.count > 0 { head(headRows, dResidual) }
    let angles = RotaryAngles(positions: batch.positions, embedding: c.rotary)
    for index in stride(from: c.layerCount - 1, through: 0, by: -1) {
      let input = decoder.inputs[index].matrix(rows: rows, columns: c.hiddenSize)
      let layer = decoder.layers[decoder.recomputesLayers ? 0 : index]
      if decoder.recomputesLayers {
        decoder.runLayer(index, layer, batch: batch, angles: angles, input: input, into: nil)
      }
      mlpBackward(
        index, layer, batch: batch, space, dResidual, gradient, startsAtZero: startsAtZero)
      attentionBackward(
        index, layer, batch: batch, angles: angles, input: input, space, dResidual, gradient,
        startsAtZero: startsAtZero)
    }
    embedding?.add(dResidual.rows(0..<batch.usedRowCount), compute: compute)
  }

  /// Zeroes a gradient but for the matrices whose gradients are each written at once.
  private func zeroWhatIsAddedTo(_ gradient: UnsafeMutablePointer<Float>, writesHead: Bool) {
    let end = decoder.weights.trainedFloatCount
    func zero(_ range: Range<Int>) {
      compute.zero(
        UnsafeMutableBufferPointer(start: gradient + range.lowerBound, count: range.count))
    }
    guard trainsWeights else {
      zero(0..<end)
      return
    }
    let layers = table.layerMatrices
    // The embedding is in front of the layers' matrices; a head of its own, and the vectors, are behind.
    let isHeadWritten = writesHead && configuration.head == .vocabulary
    if !(isHeadWritten && table.isTied) { zero(0..<layers.lowerBound) }
    zero((isHeadWritten && !table.isTied ? table.matrixCount : layers.upperBound)..<end)
  }

  private func headBackward(
    _ batch: PackedBatch, _ head: HeadRows, coefficients: [Float], penalty: DivergencePenalty?,
    dResidual: Matrix, _ gradient: UnsafeMutablePointer<Float>, startsAtZero: Bool
  ) {
    let c = configuration
    let padded = coefficients + [Float](repeating: 0, count: head.rows - head.count)
    let dNormedBuffer = FloatBuffer(count: head.rows * c.hiddenSize)
    let dNormed = dNormedBuffer.matrix(rows: head.rows, columns: c.hiddenSize)
    let dHead =
      trainsWeights
      ? Matrix(base: gradient + table.head, rows: c.vocabularySize, columns: c.hiddenSize) : nil
    func run(_ reference: ReferenceHead?) {
      compute.headGradient(
        decoder.vocabularyHead(head), sums: head.sums, targets: head.targets,
        coefficients: padded, reference: reference, logits: decoder.headLogits(head),
        into: dNormed, addingTo: dHead, startsAtZero: startsAtZero)
    }
    if let penalty { penalty.withHead(rows: head.rows, run) } else { run(nil) }
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
      dNormed, x: inputs, weight: decoder.weights.vector(table.finalNorm),
      inverseRMS: head.inverseRMS.base, addingTo: dInputs)
    compute.addRows(dInputs, to: dResidual, at: places)
  }

  private func mlpBackward(
    _ index: Int, _ layer: LayerActivations, batch: PackedBatch, _ space: BackwardWorkspace,
    _ dResidual: Matrix, _ gradient: UnsafeMutablePointer<Float>, startsAtZero: Bool
  ) {
    let c = configuration
    let rows = decoder.rowCount(of: batch)
    let gateUp = layer.gateUp.matrix(rows: rows, columns: 2 * c.intermediateSize)
    let activation = decoder.space.activation.matrix(rows: rows, columns: c.intermediateSize)
    let dActivation = space.dActivation.matrix(rows: rows, columns: c.intermediateSize)
    let dOutput = rounded(dResidual, in: space.dOutput)
    inputGradient(.down, layer: index, dOutput, into: dActivation)
    if !trainsWeights {
      // The updates add to the input's gradient before it goes on.
      compute.swiGLU(gateUp, into: activation)
      updatesBackward(.down, layer: index, dOutput, activation, dActivation, batch, gradient)
    }
    compute.swiGLUBackward(dActivation, inPlace: gateUp, activation: activation)
    weightGradient(
      .down, layer: index, dOutput, activation, gradient, startsAtZero: startsAtZero)
    let middle = layer.middle.matrix(rows: rows, columns: c.hiddenSize)
    let normed = decoder.space.normed.matrix(rows: rows, columns: c.hiddenSize)
    compute.rmsNormAgain(
      middle, weight: decoder.weights.vector(table.layers[index].mlpNorm),
      inverseRMS: layer.mlpInverseRMS.base, into: normed)
    let dNormed = space.dNormed.matrix(rows: rows, columns: c.hiddenSize)
    inputGradient(.gateUp, layer: index, gateUp, into: dNormed)
    updatesBackward(.gateUp, layer: index, gateUp, normed, dNormed, batch, gradient)
    weightGradient(.gateUp, layer: index, gateUp, normed, gradient, startsAtZero: startsAtZero)
    normBackward(
      dNormed, input: middle, norm: table.layers[index].mlpNorm,
      inverseRMS: layer.mlpInverseRMS.base, dResidual, gradient)
  }

  private func attentionBackward(
    _ index: Int, _ layer: LayerActivations, batch: PackedBatch, angles: RotaryAngles,
    input: Matrix, _ space: BackwardWorkspace, _ dResidual: Matrix,
    _ gradient: UnsafeMutablePointer<Float>, startsAtZero: Bool
  ) {
    let c = configuration
    let rows = decoder.rowCount(of: batch)
    let offsets = table.layers[index]
    let attended = layer.attended.matrix(rows: rows, columns: decoder.queryColumns)
    let fused = layer.fused.matrix(rows: rows, columns: c.heads.fusedColumns)
    let dAttended = space.dAttended.matrix(rows: rows, columns: decoder.queryColumns)
    let dFused = space.dFused.matrix(rows: rows, columns: c.heads.fusedColumns)
    let dOutput = rounded(dResidual, in: space.dOutput)
    inputGradient(.attentionOutput, layer: index, dOutput, into: dAttended)
    updatesBackward(
      .attentionOutput, layer: index, dOutput, attended, dAttended, batch, gradient)
    weightGradient(
      .attentionOutput, layer: index, dOutput, attended, gradient, startsAtZero: startsAtZero)
    dFused.rows(batch.usedRowCount..<rows).zero()
    compute.attentionBackward(
      dAttended, fused: fused, heads: c.heads, families: batch.families,
      window: c.windows[index], normalizers: layer.normalizers.base, into: dFused)
    compute.rotate(
      dFused, headCount: c.heads.queryCount + c.heads.keyValueCount, angles: angles,
      inverse: true)
    headNormsBackward(layer, offsets, dFused, gradient)
    let normed = decoder.space.normed.matrix(rows: rows, columns: c.hiddenSize)
    compute.rmsNormAgain(
      input, weight: decoder.weights.vector(offsets.attentionNorm),
      inverseRMS: layer.attentionInverseRMS.base, into: normed)
    let dFusedRounded = rounded(dFused, in: space.dFusedRounded)
    let dNormed = space.dNormed.matrix(rows: rows, columns: c.hiddenSize)
    inputGradient(.queryKeyValue, layer: index, dFusedRounded, into: dNormed)
    updatesBackward(
      .queryKeyValue, layer: index, dFusedRounded, normed, dNormed, batch, gradient)
    weightGradient(
      .queryKeyValue, layer: index, dFusedRounded, normed, gradient, startsAtZero: startsAtZero)
    normBackward(
      dNormed, input: input, norm: offsets.attentionNorm,
      inverseRMS: layer.attentionInverseRMS.base, dResidual, gradient)
  }

  /// A gradient as products read it: itself in f32.
  private func rounded(_ gradient: Matrix, in buffer: OperandBuffer) -> OperandMatrix {
    if buffer.precision == .f32 { return gradient.operand }
    let result = buffer.matrix(rows: gradient.rows, columns: gradient.columns)
    compute.round(gradient, into: result)
    return result
  }

  /// Gradient of a projection's input, overwritten, without its updates' part.
  private func inputGradient(
    _ projection: Projection, layer: Int, _ dOutput: OperandMatrix, into dInput: Matrix
  ) {
    let weight = table.layers[layer][projection].weight
    compute.linearInputGradient(
      dOutput, decoder.weights.matrix(weight, dOutput.columns, dInput.columns),
      into: dInput.operand)
  }

  /// Gradients of a projection's weight and bias, where they are trained.
  private func weightGradient(
    _ projection: Projection, layer: Int, _ dOutput: OperandMatrix, _ input: OperandMatrix,
    _ gradient: UnsafeMutablePointer<Float>, startsAtZero: Bool
  ) {
    guard trainsWeights else { return }
    let offsets = table.layers[layer][projection]
    compute.linearWeightGradient(
      dOutput, input,
      addingTo: Matrix(
        base: gradient + offsets.weight, rows: dOutput.columns, columns: input.columns),
      startsAtZero: startsAtZero)
    if let bias = offsets.bias { compute.biasGradient(dOutput, addingTo: gradient + bias) }
  }

  /// Backward of a projection's updates, where there are some: adds to its input's gradient.
  private func updatesBackward(
    _ projection: Projection, layer: Int, _ dOutput: OperandMatrix, _ input: OperandMatrix,
    _ dInput: Matrix, _ batch: PackedBatch, _ gradient: UnsafeMutablePointer<Float>
  ) {
    decoder.updatesBackward(
      projection, layer: layer, dOutput: dOutput, input: input, addingTo: dInput,
      dropped: batch.dropped, gradient: gradient)
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
        dFused, heads: columns, weight: decoder.weights.vector(norm), input: input.base,
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
      dNormed, x: input, weight: decoder.weights.vector(norm), inverseRMS: inverseRMS,
      addingTo: dResidual)
  }
}

/// The embedding's gradient of one group, finished for each token and then added once.
///
/// A token's row takes what the head gives it, where the two are tied, and what each of its places
/// gives it. What the row held before is set aside until then; of a gradient that starts at zero nothing is.
private struct EmbeddingGradient {
  private let target: Matrix
  private let tokens: [Int32]
  private let touched: [Int32]
  private let before: FloatBuffer

  init(_ target: Matrix, tokens: [Int32], startsAtZero: Bool) {
    self.target = target
    self.tokens = tokens
    touched = startsAtZero ? [] : Array(Set(tokens)).sorted()
    before = FloatBuffer(count: touched.count * target.columns)
    for (index, token) in touched.enumerated() {
      let row = target.row(Int(token))
      (before.base + index * target.columns).update(from: row, count: target.columns)
      row.update(repeating: 0, count: target.columns)
    }
  }

  /// Adds the gradient of each place's row (T, C), in order, then what was set aside.
  func add(_ dRows: Matrix, compute: Compute) {
    compute.addRows(dRows, to: target, at: tokens)
    compute.addRows(
      before.matrix(rows: touched.count, columns: target.columns), to: target, at: touched)
  }
}
