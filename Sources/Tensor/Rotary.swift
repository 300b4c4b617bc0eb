import Glibc

/// What a rotary embedding (Su et al., arXiv 2104.09864) turns and how fast.
public struct RotaryEmbedding: Sendable, Equatable {
  /// Angle a position of each pair of channels, fastest first; half as many as channels that turn.
  public var frequencies: [Float]
  /// Factor of turned queries and of turned keys; 1 but for some that reach beyond their training.
  public var scale: Float
  /// Channels of a head, at least twice the frequencies; those beyond pass unchanged.
  public var headSize: Int

  /// An embedding from its parts.
  public init(frequencies: [Float], scale: Float = 1, headSize: Int) {
    precondition(2 * frequencies.count <= headSize)
    self.frequencies = frequencies
    self.scale = scale
    self.headSize = headSize
  }

  /// The plain embedding of whole heads.
  ///
  /// - Parameters:
  ///   - base: `rope_theta`.
  ///   - headSize: channels of a head, even.
  public init(base: Double, headSize: Int) {
    self.init(frequencies: Self.frequencies(base: base, channels: headSize), headSize: headSize)
  }

  /// Frequencies base^(−2i/channels), every operation in 32 bits as transformers computes them.
  ///
  /// - Parameters:
  ///   - base: `rope_theta`.
  ///   - channels: channels that turn, even.
  /// - Returns: one frequency for each pair of channels, fastest first.
  public static func frequencies(base: Double, channels: Int) -> [Float] {
    (0..<channels / 2).map { 1 / powf(Float(base), Float(2 * $0) / Float(channels)) }
  }
}

/// Cosines and sines of a rotary embedding for a batch's rows, its scale in both.
public struct RotaryAngles {
  let cosines: FloatBuffer
  let sines: FloatBuffer
  let halfSize: Int
  let headSize: Int

  /// Angles position · frequency, rounded to 32 bits.
  ///
  /// - Parameters:
  ///   - positions: the position of each row.
  ///   - embedding: what turns.
  public init(positions: [Int32], embedding: RotaryEmbedding) {
    let frequencies = embedding.frequencies
    headSize = embedding.headSize
    halfSize = frequencies.count
    cosines = FloatBuffer(count: positions.count * halfSize)
    sines = FloatBuffer(count: positions.count * halfSize)
    for (row, position) in positions.enumerated() {
      for index in 0..<halfSize {
        let angle = Double(Float(position) * frequencies[index])
        cosines.base[row * halfSize + index] = Float(cos(angle)) * embedding.scale
        sines.base[row * halfSize + index] = Float(sin(angle)) * embedding.scale
      }
    }
  }
}

extension Compute {
  /// Rotates heads in place: (a, b) → (a cos − b sin, b cos + a sin), b half the turned channels on.
  ///
  /// - Parameters:
  ///   - heads: (T, N); the first `headCount` heads of each row are rotated.
  ///   - headCount: number of heads to rotate.
  ///   - angles: of the same T rows.
  ///   - inverse: turns the other way with the same scale, which is the backward.
  public func rotate(_ heads: Matrix, headCount: Int, angles: RotaryAngles, inverse: Bool) {
    let half = angles.halfSize
    precondition(headCount * angles.headSize <= heads.columns)
    precondition(angles.cosines.count >= heads.rows * half)
    let sign: Float = inverse ? -1 : 1
    pool.forEachPart(of: heads.rows) { part, _ in
      for row in part {
        let cosine = angles.cosines.base + row * half
        let sine = angles.sines.base + row * half
        for head in 0..<headCount {
          let first = heads.row(row) + head * angles.headSize
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
