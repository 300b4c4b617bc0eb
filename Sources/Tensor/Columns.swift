extension Compute {
  /// Adds a matrix to some columns of a wider one: y[:, first...] += scale · x.
  ///
  /// - Parameters:
  ///   - x: (T, N).
  ///   - scale: factor of x.
  ///   - y: (T, M), M ≥ first + N, added to.
  ///   - first: the first column.
  public func addColumns(_ x: Matrix, scale: Float, to y: Matrix, first: Int) {
    precondition(x.rows == y.rows && first >= 0 && first + x.columns <= y.columns)
    pool.forEachPart(of: x.rows) { part, _ in
      for row in part {
        addScaled(y.row(row) + first, x.row(row), scale: scale, count: x.columns)
      }
    }
  }

  /// Copies some columns of a matrix: x = scale · y[:, first...].
  ///
  /// - Parameters:
  ///   - y: (T, M), M ≥ first + N.
  ///   - first: the first column.
  ///   - scale: factor of y.
  ///   - x: (T, N), overwritten.
  public func copyColumns(
    of y: OperandMatrix, first: Int, scale: Float, into x: OperandMatrix
  ) {
    precondition(x.rows == y.rows && first >= 0 && first + x.columns <= y.columns)
    pool.forEachPart(of: x.rows) { part, thread in
      withScratch(2 * x.columns, thread: thread) { scratch in
        for row in part {
          let source = readRow(
            y.row(row) + first * y.precision.byteCount, y.precision, scratch: scratch,
            count: x.columns)
          writeRow(x.row(row), x.precision, scratch: scratch + x.columns, count: x.columns) {
            for column in 0..<x.columns { $0[column] = source[column] * scale }
          }
        }
      }
    }
  }
}
