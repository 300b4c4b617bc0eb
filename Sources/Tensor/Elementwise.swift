extension Compute {
  /// Adds the bias to every row: y += b.
  ///
  /// - Parameters:
  ///   - y: (T, N), added to.
  ///   - bias: b (N).
  public func addBias(_ y: Matrix, _ bias: UnsafePointer<Float>) {
    pool.forEachPart(of: y.rows) { part, _ in
      for row in part { addInPlace(y.row(row), bias, count: y.columns) }
    }
  }

  /// Gradient of a bias: db += Σ_t dy, summed over rows in order before the addition.
  ///
  /// - Parameters:
  ///   - dy: (T, N).
  ///   - db: (N), added to once.
  public func biasGradient(_ dy: OperandMatrix, addingTo db: UnsafeMutablePointer<Float>) {
    pool.forEachPart(of: dy.columns, multiple: vectorWidth) { part, thread in
      withScratch(2 * part.count, thread: thread) { sum in
        sum.update(repeating: 0, count: part.count)
        for row in 0..<dy.rows {
          let line = readRow(
            dy.row(row) + part.lowerBound * dy.precision.byteCount, dy.precision,
            scratch: sum + part.count, count: part.count)
          addInPlace(sum, line, count: part.count)
        }
        addInPlace(db + part.lowerBound, sum, count: part.count)
      }
    }
  }

  /// Sets every float to zero.
  public func zero(_ floats: UnsafeMutableBufferPointer<Float>) {
    guard let base = floats.baseAddress else { return }
    pool.forEachPart(of: floats.count, multiple: 1024) { part, _ in
      (base + part.lowerBound).update(repeating: 0, count: part.count)
    }
  }

  /// Elementwise sum: y += x, both (T, C).
  public func add(_ y: Matrix, _ x: Matrix) {
    precondition(y.rows == x.rows && y.columns == x.columns)
    pool.forEachPart(of: y.count, multiple: 64) { part, _ in
      addInPlace(y.base + part.lowerBound, x.base + part.lowerBound, count: part.count)
    }
  }

  /// Elementwise sum: z = x + y, all (T, C); z overwritten.
  public func add(_ x: Matrix, _ y: Matrix, into z: Matrix) {
    precondition(x.count == y.count && x.count == z.count)
    pool.forEachPart(of: z.count, multiple: 64) { part, _ in
      for index in part { z.base[index] = x.base[index] + y.base[index] }
    }
  }

  /// Copies chosen rows of a table as floats: y[i] = table[indices[i]].
  ///
  /// - Parameters:
  ///   - table: (N, C).
  ///   - indices: rows of `table`, one for each row of `y`.
  ///   - y: (T, C), overwritten.
  public func gatherRows(of table: OperandMatrix, at indices: [Int32], into y: Matrix) {
    precondition(table.columns == y.columns && indices.count == y.rows)
    pool.forEachPart(of: y.rows) { part, _ in
      for row in part {
        loadWidened(
          table.row(Int(indices[row])), table.precision, into: y.row(row), count: y.columns)
      }
    }
  }

  /// Adds rows to chosen rows, in order: target[indices[i]] += rows[i].
  ///
  /// - Parameters:
  ///   - rows: (M, C), M ≥ the number of indices.
  ///   - target: (N, C), added to; a row may be chosen several times.
  ///   - indices: rows of `target`.
  public func addRows(_ rows: Matrix, to target: Matrix, at indices: [Int32]) {
    precondition(rows.columns == target.columns && indices.count <= rows.rows)
    pool.forEachPart(of: rows.columns, multiple: vectorWidth) { part, _ in
      for (row, index) in indices.enumerated() {
        addInPlace(
          target.row(Int(index)) + part.lowerBound, rows.row(row) + part.lowerBound,
          count: part.count)
      }
    }
  }

  /// Gated unit (SwiGLU, Shazeer, arXiv 2002.05202): a = silu(gate) ∘ up.
  ///
  /// - Parameters:
  ///   - gateUp: gate and up side by side (T, 2 I).
  ///   - activation: a (T, I), overwritten.
  public func swiGLU(_ gateUp: OperandMatrix, into activation: OperandMatrix) {
    let width = activation.columns
    precondition(gateUp.columns == 2 * width && gateUp.rows == activation.rows)
    pool.forEachPart(of: gateUp.rows) { part, thread in
      withScratch(3 * width, thread: thread) { scratch in
        for row in part {
          let gate = readRow(
            gateUp.row(row), gateUp.precision, scratch: scratch + width, count: 2 * width)
          writeRow(
            activation.row(row), activation.precision, scratch: scratch, count: width
          ) { output in gatedRow(gate, into: output, width: width) }
        }
      }
    }
  }

  /// Backward of the gated unit, in place: gateUp becomes its own gradient.
  ///
  /// With s = σ(gate): dup = da · gate · s, dgate = da · up · s (1 + gate (1 − s)).
  /// - Parameters:
  ///   - dActivation: da (T, I).
  ///   - gateUp: (T, 2 I), values in, gradients out.
  ///   - activation: a (T, I) of the forward, overwritten: the same bits as ``swiGLU(_:into:)`` gives.
  public func swiGLUBackward(
    _ dActivation: Matrix, inPlace gateUp: OperandMatrix, activation: OperandMatrix
  ) {
    let width = dActivation.columns
    precondition(gateUp.columns == 2 * width && gateUp.rows == activation.rows)
    precondition(dActivation.rows == activation.rows && activation.columns == width)
    pool.forEachPart(of: gateUp.rows) { part, thread in
      withScratch(4 * width, thread: thread) { scratch in
        for row in part {
          let line = gateUp.row(row)
          let gate = readRow(line, gateUp.precision, scratch: scratch, count: 2 * width)
          writeRow(
            activation.row(row), activation.precision, scratch: scratch + 2 * width, count: width
          ) { output in gatedRow(gate, into: output, width: width) }
          // The gradient replaces what it is computed from, element by element.
          writeRow(line, gateUp.precision, scratch: scratch + 2 * width, count: 2 * width) {
            gatedRowGradient(gate, dActivation.row(row), into: $0, width: width)
          }
        }
      }
    }
  }
}

/// silu(gate) ∘ up of one row of gate and up side by side.
private func gatedRow(_ gate: ConstantFloats, into output: Floats, width: Int) {
  let up = gate + width
  forEachVector(width) { index in
    let g = gate.vector(index)
    output.store(g / (1 + exponential(-g)) * up.vector(index), index)
  } tail: { index in
    output[index] = gate[index] / (1 + exponential(-gate[index])) * up[index]
  }
}

/// Gradients of one row's gate and up; `output` may be `gate` itself.
private func gatedRowGradient(
  _ gate: ConstantFloats, _ gradient: ConstantFloats, into output: Floats, width: Int
) {
  let up = gate + width
  forEachVector(width) { index in
    let g = gate.vector(index)
    let u = up.vector(index)
    let da = gradient.vector(index)
    let s = 1 / (1 + exponential(-g))
    output.store(da * u * s * (1 + g * (1 - s)), index)
    output.store(da * g * s, width + index)
  } tail: { index in
    let g = gate[index]
    let u = up[index]
    let s = 1 / (1 + exponential(-g))
    output[index] = gradient[index] * u * s * (1 + g * (1 - s))
    output[width + index] = gradient[index] * g * s
  }
}

/// Whole vectors first, then the elements that are left.
@inline(__always)
func forEachVector(_ count: Int, _ vector: (Int) -> Void, tail: (Int) -> Void) {
  var index = 0
  while index + vectorWidth <= count {
    vector(index)
    index += vectorWidth
  }
  while index < count {
    tail(index)
    index += 1
  }
}
