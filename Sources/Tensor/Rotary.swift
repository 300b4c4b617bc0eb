import Glibc

/// Cosines and sines of the rotary embedding (Su et al., arXiv 2104.09864) for a batch's rows.
public struct RotaryAngles {
  let cosines: FloatBuffer
  let sines: FloatBuffer
  let halfSize: Int

  /// Angles position · base^(−2i/headSize), rounded to 32 bits at each step as transformers does.
  ///
  /// - Parameters:
  ///   - positions: the position of each row.
  ///   - headSize: size of a head, even.
  ///   - base: `rope_theta`.
  public init(positions: [Int32], headSize: Int, base: Double) {
    halfSize = headSize / 2
    cosines = FloatBuffer(count: positions.count * halfSize)
    sines = FloatBuffer(count: positions.count * halfSize)
    let frequencies = (0..<halfSize).map { index in
      Float(1 / pow(base, Double(2 * index) / Double(headSize)))
    }
    for (row, position) in positions.enumerated() {
      for index in 0..<halfSize {
        let angle = Double(Float(position) * frequencies[index])
        cosines.base[row * halfSize + index] = Float(cos(angle))
        sines.base[row * halfSize + index] = Float(sin(angle))
      }
    }
  }
}

extension Compute {
  /// Rotates heads in place: (a, b) → (a cos − b sin, b cos + a sin), b half a head after a.
  ///
  /// - Parameters:
  ///   - heads: (T, N); the first `headCount` heads of each row are rotated.
  ///   - headCount: number of heads to rotate.
  ///   - angles: of the same T rows.
  ///   - inverse: rotates back, which is the backward.
  public func rotate(_ heads: Matrix, headCount: Int, angles: RotaryAngles, inverse: Bool) {
    let half = angles.halfSize
    precondition(headCount * half * 2 <= heads.columns)
    precondition(angles.cosines.count >= heads.rows * half)
    let sign: Float = inverse ? -1 : 1
    pool.forEachPart(of: heads.rows) { part, _ in
      for row in part {
        let cosine = angles.cosines.base + row * half
        let sine = angles.sines.base + row * half
        for head in 0..<headCount {
          let first = heads.row(row) + head * 2 * half
          let second = first + half
          for index in 0..<half {
            let a = first[index]
            let b = second[index]
            let s = sine[index] * sign
            first[index] = a * cosine[index] - b * s
            second[index] = b * cosine[index] + a * s
          }
        }
      }
    }
  }
}
