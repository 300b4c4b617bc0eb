import Tensor

/// Memory of one low-rank update, used again for the next.
final class AdapterWorkspace {
  private var inputs = FloatBuffer(count: 0)
  private var low = FloatBuffer(count: 0)
  private var dLow = FloatBuffer(count: 0)
  private var outputs = FloatBuffer(count: 0)

  func input(rows: Int, columns: Int) -> Matrix { matrix(&inputs, rows, columns) }
  func low(rows: Int, columns: Int) -> Matrix { matrix(&low, rows, columns) }
  func dLow(rows: Int, columns: Int) -> Matrix { matrix(&dLow, rows, columns) }
  func output(rows: Int, columns: Int) -> Matrix { matrix(&outputs, rows, columns) }

  private func matrix(_ buffer: inout FloatBuffer, _ rows: Int, _ columns: Int) -> Matrix {
    if buffer.count < rows * columns { buffer = FloatBuffer(count: rows * columns) }
    return buffer.matrix(rows: rows, columns: columns)
  }
}

extension AdapterWeights {
  func first(_ update: LowRankUpdate, inputs: Int) -> Matrix {
    Matrix(base: base + update.first, rows: configuration.rank, columns: inputs)
  }

  func second(_ update: LowRankUpdate) -> Matrix {
    Matrix(
      base: base + update.second, rows: update.columns.count, columns: configuration.rank)
  }
}

extension Decoder {
  /// Adds a projection's updates to its outputs: y += scale · (x Aᵀ) Bᵀ, each in its own columns.
  func addUpdates(
    _ projection: Projection, layer: Int, _ x: Matrix, to y: Matrix, dropped: DroppedRows?
  ) {
    guard let adapter = weights.adapter else { return }
    for update in adapter.table.updates(layer: layer, projection) {
      let input = adapterInput(x, update, dropped)
      let low = adapterSpace.low(rows: x.rows, columns: adapter.configuration.rank)
      compute.linear(input, adapter.first(update, inputs: x.columns), into: low)
      let output = adapterSpace.output(rows: x.rows, columns: update.columns.count)
      compute.linear(low, adapter.second(update), into: output)
      compute.addColumns(
        output, scale: adapter.configuration.scale, to: y, first: update.columns.lowerBound)
    }
  }

  /// Backward of ``addUpdates(_:layer:_:to:dropped:)``: adds to the input's gradient and to A's and B's.
  ///
  /// x Aᵀ is computed again rather than kept.
  func updatesBackward(
    _ projection: Projection, layer: Int, dOutput: Matrix, input x: Matrix,
    addingTo dInput: Matrix, dropped: DroppedRows?, gradient: UnsafeMutablePointer<Float>
  ) {
    guard let adapter = weights.adapter else { return }
    let rank = adapter.configuration.rank
    for update in adapter.table.updates(layer: layer, projection) {
      let (first, second) = (adapter.first(update, inputs: x.columns), adapter.second(update))
      let dPart = adapterSpace.output(rows: x.rows, columns: update.columns.count)
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
      // The input's copy is done with: its place takes its gradient.
      let dCopy = adapterSpace.input(rows: x.rows, columns: x.columns)
      compute.linearInputGradient(dLow, first, into: dCopy)
      if let dropped {
        compute.dropout(
          dCopy, draws: dropped.draws, keys: dropped.keys, layer: update.key, into: dCopy)
      }
      compute.add(dInput, dCopy)
    }
  }

  private func adapterInput(
    _ x: Matrix, _ update: LowRankUpdate, _ dropped: DroppedRows?
  ) -> Matrix {
    guard let dropped else { return x }
    let copy = adapterSpace.input(rows: x.rows, columns: x.columns)
    compute.dropout(x, draws: dropped.draws, keys: dropped.keys, layer: update.key, into: copy)
    return copy
  }
}

extension DecoderWeights {
  /// Adds the adapter's update to the weights themselves, W += scale · B A, after which `adapter` is to
  /// be left out.
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
          let copy = scaled.matrix(rows: second.rows, columns: second.columns)
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
