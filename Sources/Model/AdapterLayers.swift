import Tensor

/// Memory of one low-rank update, used again for the next.
final class AdapterWorkspace {
  private let precision: Precision
  private var memory: [Use: FloatBuffer] = [:]

  private enum Use { case input, low, dLow, part, output }

  init(precision: Precision) { self.precision = precision }

  func input(rows: Int, columns: Int) -> OperandMatrix { operands(.input, rows, columns) }
  func low(rows: Int, columns: Int) -> OperandMatrix { operands(.low, rows, columns) }
  func dLow(rows: Int, columns: Int) -> OperandMatrix { operands(.dLow, rows, columns) }
  func part(rows: Int, columns: Int) -> OperandMatrix { operands(.part, rows, columns) }
  func output(rows: Int, columns: Int) -> Matrix {
    Matrix(base: floats(.output, rows * columns), rows: rows, columns: columns)
  }

  private func operands(_ use: Use, _ rows: Int, _ columns: Int) -> OperandMatrix {
    OperandMatrix(
      base: floats(use, rows * columns), rows: rows, columns: columns, precision: precision)
  }

  private func floats(_ use: Use, _ count: Int) -> UnsafeMutablePointer<Float> {
    if let buffer = memory[use], buffer.count >= count { return buffer.base }
    let buffer = FloatBuffer(count: count)
    memory[use] = buffer
    return buffer.base
  }
}

extension AdapterWeights {
  func first(_ update: LowRankUpdate, inputs: Int) -> OperandMatrix {
    operands(update.first, rows: configuration.rank, columns: inputs)
  }

  func second(_ update: LowRankUpdate) -> OperandMatrix {
    operands(update.second, rows: update.columns.count, columns: configuration.rank)
  }
}

extension Decoder {
  /// Adds a projection's updates to its outputs: y += scale · (x Aᵀ) Bᵀ, each in its own columns.
  func addUpdates(
    _ projection: Projection, layer: Int, _ x: OperandMatrix, to y: Matrix,
    dropped: DroppedRows?
  ) {
    guard let adapter = weights.adapter else { return }
    for update in adapter.table.updates(layer: layer, projection) {
      let input = adapterInput(x, update, dropped)
      let low = adapterSpace.low(rows: x.rows, columns: adapter.configuration.rank)
      compute.linear(input, adapter.first(update, inputs: x.columns), into: low)
      let output = adapterSpace.output(rows: x.rows, columns: update.columns.count)
      compute.linear(low, adapter.second(update), into: output.operand)
      compute.addColumns(
        output, scale: adapter.configuration.scale, to: y, first: update.columns.lowerBound)
    }
  }

  /// Backward of ``addUpdates(_:layer:_:to:dropped:)``: adds to the input's gradient and to A's and B's.
  ///
  /// x Aᵀ is computed again rather than kept.
  func updatesBackward(
    _ projection: Projection, layer: Int, dOutput: OperandMatrix, input x: OperandMatrix,
    addingTo dInput: Matrix, dropped: DroppedRows?, gradient: UnsafeMutablePointer<Float>
  ) {
    guard let adapter = weights.adapter else { return }
    let rank = adapter.configuration.rank
    for update in adapter.table.updates(layer: layer, projection) {
      let (first, second) = (adapter.first(update, inputs: x.columns), adapter.second(update))
      let dPart = adapterSpace.part(rows: x.rows, columns: update.columns.count)
      compute.copyColumns(
        of: dOutput, first: update.columns.lowerBound, scale: adapter.configuration.scale,
        into: dPart)
      let input = adapterInput(x, update, dropped)
      let low = adapterSpace.low(rows: x.rows, columns: rank)
      compute.linear(input, first, into: low)
      compute.linearWeightGradient(
        dPart, low,
        addingTo: Matrix(base: gradient + update.second, rows: second.rows, columns: rank))
      let dLow = adapterSpace.dLow(rows: x.rows, columns: rank)
      compute.linearInputGradient(dPart, second, into: dLow)
      compute.linearWeightGradient(
        dLow, input,
        addingTo: Matrix(base: gradient + update.first, rows: rank, columns: x.columns))
      let dCopy = adapterSpace.output(rows: x.rows, columns: x.columns)
      compute.linearInputGradient(dLow, first, into: dCopy.operand)
      if let dropped {
        compute.dropout(
          dCopy.operand, draws: dropped.draws, keys: dropped.keys, layer: update.key,
          into: dCopy.operand)
      }
      compute.add(dInput, dCopy)
    }
  }

  private func adapterInput(
    _ x: OperandMatrix, _ update: LowRankUpdate, _ dropped: DroppedRows?
  ) -> OperandMatrix {
    guard let dropped else { return x }
    let copy = adapterSpace.input(rows: x.rows, columns: x.columns)
    compute.dropout(x, draws: dropped.draws, keys: dropped.keys, layer: update.key, into: copy)
    return copy
  }
}

extension DecoderWeights {
  /// Adds the adapter's update to the weights themselves, f32, W += scale · B A, after which `adapter` is
  /// to be left out.
  public func mergeAdapter(compute: Compute) {
    guard let adapter else { return }
    for layer in 0..<configuration.layerCount {
      for projection in Projection.allCases {
        let inputs = configuration.inputs(of: projection)
        let whole = matrix(
          table.layers[layer][projection].weight, configuration.outputs(of: projection), inputs)
        for update in adapter.table.updates(layer: layer, projection) {
          let second = adapter.second(update)
          let scaled = FloatBuffer(count: second.count)
          let copy = scaled.matrix(rows: second.rows, columns: second.columns).operand
          compute.copyColumns(
            of: second, first: 0, scale: adapter.configuration.scale, into: copy)
          compute.linearInputGradient(
            copy, adapter.first(update, inputs: inputs), into: whole.rows(update.columns),
            accumulates: true)
        }
      }
    }
  }
}
