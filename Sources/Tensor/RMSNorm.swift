// Root-mean-square norm (Zhang and Sennrich, arXiv 1910.07467): y = w ∘ x · r, r = 1/√(mean x² + ε).

extension Compute {
  /// Forward: y = w ∘ x · r for every row.
  ///
  /// - Parameters:
  ///   - x: inputs (T, C).
  ///   - weight: w (C).
  ///   - epsilon: ε, added to the mean square.
  ///   - y: outputs (T, C), overwritten.
  ///   - inverseRMS: r (T), overwritten, for the backward.
  public func rmsNorm(
    _ x: Matrix, weight: UnsafePointer<Float>, epsilon: Float, into y: OperandMatrix,
    inverseRMS: UnsafeMutablePointer<Float>
  ) {
    precondition(x.rows == y.rows && x.columns == y.columns)
    pool.forEachPart(of: x.rows) { part, thread in
      for row in part {
        let input = x.row(row)
        let square = dot(input, input, count: x.columns) / Float(x.columns)
        inverseRMS[row] = 1 / (square + epsilon).squareRoot()
      }
      normRows(part, x, weight: weight, inverseRMS: inverseRMS, into: y, thread: thread)
    }
  }

  /// The outputs of ``rmsNorm(_:weight:epsilon:into:inverseRMS:)`` again, in every bit, from its r.
  public func rmsNormAgain(
    _ x: Matrix, weight: UnsafePointer<Float>, inverseRMS: UnsafePointer<Float>,
    into y: OperandMatrix
  ) {
    precondition(x.rows == y.rows && x.columns == y.columns)
    pool.forEachPart(of: x.rows) { part, thread in
      normRows(part, x, weight: weight, inverseRMS: inverseRMS, into: y, thread: thread)
    }
  }

  private func normRows(
    _ rows: Range<Int>, _ x: Matrix, weight: UnsafePointer<Float>,
    inverseRMS: UnsafePointer<Float>, into y: OperandMatrix, thread: Int
  ) {
    let width = x.columns
    withScratch(width, thread: thread) { scratch in
      for row in rows {
        let input = x.row(row)
        let inverse = inverseRMS[row]
        writeRow(y.row(row), y.precision, scratch: scratch, count: width) { output in
          for column in 0..<width { output[column] = input[column] * inverse * weight[column] }
        }
      }
    }
  }

  /// Backward to the input: dx = r (w ∘ dy) − x r³ ⟨w ∘ dy, x⟩ / C.
  ///
  /// - Parameters:
  ///   - dy: gradient of the outputs (T, C).
  ///   - x: inputs of the forward (T, C).
  ///   - weight: w (C).
  ///   - inverseRMS: r (T) of the forward.
  ///   - dx: gradient of the inputs (T, C), added to.
  public func rmsNormBackward(
    _ dy: Matrix, x: Matrix, weight: UnsafePointer<Float>, inverseRMS: UnsafePointer<Float>,
    addingTo dx: Matrix
  ) {
    let width = x.columns
    pool.forEachPart(of: x.rows) { part, thread in
      withScratch(width, thread: thread) { scaled in
        for row in part {
          let gradient = dy.row(row)
          let input = x.row(row)
          let output = dx.row(row)
          let inverse = inverseRMS[row]
          for column in 0..<width { scaled[column] = gradient[column] * weight[column] }
          let factor =
            dot(scaled, input, count: width) * inverse * inverse * inverse / Float(width)
          for column in 0..<width {
            output[column] += scaled[column] * inverse - input[column] * factor
          }
        }
      }
    }
  }

  /// Backward to the weight: dw += Σ_t dy ∘ x · r, summed over rows in order before the addition.
  ///
  /// - Parameters:
  ///   - dy: gradient of the outputs (T, C).
  ///   - x: inputs of the forward (T, C).
  ///   - inverseRMS: r (T) of the forward.
  ///   - dw: gradient of the weight (C), added to once.
  public func rmsNormWeightGradient(
    _ dy: Matrix, x: Matrix, inverseRMS: UnsafePointer<Float>,
    addingTo dw: UnsafeMutablePointer<Float>
  ) {
    pool.forEachPart(of: x.columns, multiple: vectorWidth) { part, thread in
      withScratch(part.count, thread: thread) { sum in
        sum.update(repeating: 0, count: part.count)
        for row in 0..<x.rows {
          let gradient = dy.row(row) + part.lowerBound
          let input = x.row(row) + part.lowerBound
          let inverse = inverseRMS[row]
          for index in 0..<part.count { sum[index] += gradient[index] * input[index] * inverse }
        }
        addInPlace(dw + part.lowerBound, sum, count: part.count)
      }
    }
  }
}
