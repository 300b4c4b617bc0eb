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
  public func biasGradient(_ dy: Matrix, addingTo db: UnsafeMutablePointer<Float>) {
    pool.forEachPart(of: dy.columns, multiple: vectorWidth) { part, thread in
      withScratch(part.count, thread: thread) { sum in
        sum.update(repeating: 0, count: part.count)
        for row in 0..<dy.rows {
          addInPlace(sum, dy.row(row) + part.lowerBound, count: part.count)
        }
        addInPlace(db + part.lowerBound, sum, count: part.count)
      }
    }
  }

  /// Elementwise sum: y += x, both (T, C).
  public func add(_ y: Matrix, _ x: Matrix) {
    precondition(y.rows == x.rows && y.columns == x.columns)
    pool.forEachPart(of: y.count, multiple: 64) { part, _ in
      addInPlace(y.base + part.lowerBound, x.base + part.lowerBound, count: part.count)
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
  public func swiGLU(_ gateUp: Matrix, into activation: Matrix) {
    let width = activation.columns
    precondition(gateUp.columns == 2 * width && gateUp.rows == activation.rows)
    pool.forEachPart(of: gateUp.rows) { part, _ in
      for row in part {
        let gate = gateUp.row(row)
        let up = gate + width
        let output = activation.row(row)
        forEachVector(width) { index in
          let g = gate.vector(index)
          output.store(g / (1 + exponential(-g)) * up.vector(index), index)
        } tail: { index in
          output[index] = gate[index] / (1 + exponential(-gate[index])) * up[index]
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
  public func swiGLUBackward(_ dActivation: Matrix, inPlace gateUp: Matrix) {
    let width = dActivation.columns
    precondition(gateUp.columns == 2 * width && gateUp.rows == dActivation.rows)
    pool.forEachPart(of: gateUp.rows) { part, _ in
      for row in part {
        let gate = gateUp.row(row)
        let up = gate + width
        let gradient = dActivation.row(row)
        forEachVector(width) { index in
          let g = gate.vector(index)
          let u = up.vector(index)
          let da = gradient.vector(index)
          let s = 1 / (1 + exponential(-g))
          up.store(da * g * s, index)
          gate.store(da * u * s * (1 + g * (1 - s)), index)
        } tail: { index in
          let g = gate[index]
          let u = up[index]
          let s = 1 / (1 + exponential(-g))
          up[index] = gradient[index] * g * s
          gate[index] = gradient[index] * u * s * (1 + g * (1 - s))
        }
      }
    }
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
