// Root-mean-square norm of single heads, as Qwen3 norms its queries and keys: the heads lie side by
// side in wider rows, one weight serves them all.

/// Some heads of each row of a wider matrix.
public struct HeadColumns: Sendable {
  /// First channel of the first head.
  public var offset: Int
  /// Number of heads.
  public var count: Int
  /// Channels of a head.
  public var size: Int

  /// Heads from their place.
  public init(offset: Int, count: Int, size: Int) {
    self.offset = offset
    self.count = count
    self.size = size
  }
}

extension Compute {
  /// Forward, in place: h = w ∘ h · r for each head, r = 1/√(mean h² + ε).
  ///
  /// - Parameters:
  ///   - rows: (T, N), the heads' channels overwritten.
  ///   - heads: which.
  ///   - weight: w (size).
  ///   - epsilon: ε.
  ///   - input: (T, count · size) the heads before, overwritten, for the backward.
  ///   - inverseRMS: (T, count) r, overwritten, for the backward.
  public func rmsNormHeads(
    _ rows: Matrix, heads: HeadColumns, weight: UnsafePointer<Float>, epsilon: Float,
    savingInput input: UnsafeMutablePointer<Float>, inverseRMS: UnsafeMutablePointer<Float>
  ) {
    precondition(heads.offset + heads.count * heads.size <= rows.columns)
    pool.forEachPart(of: rows.rows) { part, _ in
      for index in part.lowerBound * heads.count..<part.upperBound * heads.count {
        let head =
          rows.row(index / heads.count) + heads.offset + index % heads.count * heads.size
        let saved = input + index * heads.size
        saved.update(from: head, count: heads.size)
        let square = dot(saved, saved, count: heads.size) / Float(heads.size)
        let inverse = 1 / (square + epsilon).squareRoot()
        inverseRMS[index] = inverse
        for channel in 0..<heads.size { head[channel] = saved[channel] * inverse * weight[channel] }
      }
    }
  }

  /// Backward to the heads, in place: dh = r (w ∘ dy) − h r³ ⟨w ∘ dy, h⟩ / size.
  ///
  /// - Parameters:
  ///   - rows: (T, N), in the heads' channels dy in, dh out.
  ///   - heads: as in the forward.
  ///   - weight: w (size).
  ///   - input: of the forward.
  ///   - inverseRMS: of the forward.
  public func rmsNormHeadsBackward(
    _ rows: Matrix, heads: HeadColumns, weight: UnsafePointer<Float>,
    input: UnsafePointer<Float>, inverseRMS: UnsafePointer<Float>
  ) {
    pool.forEachPart(of: rows.rows) { part, _ in
      for index in part.lowerBound * heads.count..<part.upperBound * heads.count {
        let head =
          rows.row(index / heads.count) + heads.offset + index % heads.count * heads.size
        let saved = input + index * heads.size
        let inverse = inverseRMS[index]
        for channel in 0..<heads.size { head[channel] *= weight[channel] }
        let factor =
          dot(head, saved, count: heads.size) * inverse * inverse * inverse / Float(heads.size)
        for channel in 0..<heads.size {
          head[channel] = head[channel] * inverse - saved[channel] * factor
        }
      }
    }
  }

  /// Backward to the weight: dw += Σ dy ∘ h · r over rows, then heads, in order, added once.
  ///
  /// - Parameters:
  ///   - rows: (T, N), in the heads' channels dy; before ``rmsNormHeadsBackward(_:heads:weight:input:inverseRMS:)``.
  ///   - heads: as in the forward.
  ///   - input: of the forward.
  ///   - inverseRMS: of the forward.
  ///   - dw: gradient of the weight (size), added to once.
  public func rmsNormHeadsWeightGradient(
    _ rows: Matrix, heads: HeadColumns, input: UnsafePointer<Float>,
    inverseRMS: UnsafePointer<Float>, addingTo dw: UnsafeMutablePointer<Float>
  ) {
    pool.forEachPart(of: heads.size, multiple: vectorWidth) { part, thread in
      withScratch(part.count, thread: thread) { sum in
        sum.update(repeating: 0, count: part.count)
        for index in 0..<rows.rows * heads.count {
          let head =
            rows.row(index / heads.count) + heads.offset + index % heads.count * heads.size
            + part.lowerBound
          let saved = input + index * heads.size + part.lowerBound
          for channel in 0..<part.count {
            sum[channel] += head[channel] * saved[channel] * inverseRMS[index]
          }
        }
        addInPlace(dw + part.lowerBound, sum, count: part.count)
      }
    }
  }
}
