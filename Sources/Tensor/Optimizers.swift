/// Constants of one AdamW step (Loshchilov and Hutter, arXiv 1711.05101; torch.optim.AdamW).
public struct AdamWStep: Sendable {
  /// Learning rate of this step.
  public var learningRate: Double
  /// Decay of the first and second moment.
  public var betas: (Double, Double)
  /// Added to the root of the second moment.
  public var epsilon: Double
  /// Decoupled weight decay.
  public var weightDecay: Double
  /// Number of this step, from 1, for the bias correction.
  public var step: Int

  /// The constants of one step.
  public init(
    learningRate: Double, betas: (Double, Double), epsilon: Double, weightDecay: Double, step: Int
  ) {
    self.learningRate = learningRate
    self.betas = betas
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.step = step
  }
}

extension Compute {
  /// One AdamW step over weights and flat arrays of as many floats, in place.
  ///
  /// w ← w (1 − lr · decay); m ← m + (1 − β1)(g − m); v ← β2 v + (1 − β2) g²;
  /// w ← w − lr/(1 − β1ᵗ) · m / (√v/√(1 − β2ᵗ) + ε), with g = gradient · scale.
  /// - Parameters:
  ///   - weights: updated.
  ///   - gradient: summed gradient.
  ///   - scale: division by the planned count and clipping in one factor.
  ///   - first: first moment, updated.
  ///   - second: second moment, updated.
  ///   - constants: of this step.
  public func adamW(
    weights: MasterWeights, gradient: UnsafePointer<Float>, scale: Float,
    first: UnsafeMutablePointer<Float>, second: UnsafeMutablePointer<Float>,
    constants: AdamWStep
  ) {
    let beta2 = Float(constants.betas.1)
    let oneMinusBeta1 = Float(1 - constants.betas.0)
    let oneMinusBeta2 = Float(1 - constants.betas.1)
    let power1 = power(constants.betas.0, constants.step)
    let power2 = power(constants.betas.1, constants.step)
    let stepSize = Float(constants.learningRate / (1 - power1))
    let inverseRoot = Float(1 / (1 - power2).squareRoot())
    let epsilon = Float(constants.epsilon)
    let decay = Float(1 - constants.learningRate * constants.weightDecay)
    updateBlocks(of: weights) { weights, block in
      let (gradient, first) = (gradient + block.lowerBound, first + block.lowerBound)
      let second = second + block.lowerBound
      for index in 0..<block.count {
        let g = gradient[index] * scale
        let m = first[index] + oneMinusBeta1 * (g - first[index])
        let v = beta2 * second[index] + oneMinusBeta2 * g * g
        first[index] = m
        second[index] = v
        weights[index] =
          weights[index] * decay - stepSize * m / (v.squareRoot() * inverseRoot + epsilon)
      }
    }
  }

  /// One SGD step (torch.optim.SGD) over weights and flat arrays of as many floats, in place.
  ///
  /// g = gradient · scale + decay · w; with momentum μ ≠ 0: v ← g at the first step, then
  /// v ← μ v + g, and g = v; w ← w − lr g.
  /// - Parameters:
  ///   - weights: updated.
  ///   - gradient: summed gradient.
  ///   - scale: division by the planned count and clipping in one factor.
  ///   - velocity: v, updated; nil without momentum.
  ///   - learningRate: lr of this step.
  ///   - momentum: μ.
  ///   - weightDecay: decay, added to the gradient.
  ///   - isFirst: whether this is the first step.
  public func sgd(
    weights: MasterWeights, gradient: UnsafePointer<Float>, scale: Float,
    velocity: UnsafeMutablePointer<Float>?, learningRate: Double, momentum: Double,
    weightDecay: Double, isFirst: Bool
  ) {
    let rate = Float(learningRate)
    let decay = Float(weightDecay)
    let friction = isFirst ? 0 : Float(momentum)
    updateBlocks(of: weights) { weights, block in
      let gradient = gradient + block.lowerBound
      if let velocity = velocity.map({ $0 + block.lowerBound }) {
        for index in 0..<block.count {
          let g = gradient[index] * scale + decay * weights[index]
          velocity[index] = friction * velocity[index] + g
          weights[index] -= rate * velocity[index]
        }
      } else {
        for index in 0..<block.count {
          let g = gradient[index] * scale + decay * weights[index]
          weights[index] -= rate * g
        }
      }
    }
  }

  /// Sums of squares over fixed blocks of 65 536 floats, each in double in index order.
  ///
  /// - Parameters:
  ///   - x: first float; the array must begin on a block's boundary.
  ///   - count: number of floats.
  /// - Returns: one sum a block; not finite where a number of the block is not.
  public func squaredNorms(_ x: UnsafePointer<Float>, count: Int) -> [Double] {
    let size = Compute.normBlock
    let blockCount = (count + size - 1) / size
    return [Double](unsafeUninitializedCapacity: blockCount) { buffer, initialized in
      nonisolated(unsafe) let sums = buffer
      pool.run(blockCount) { block, _ in
        let start = block * size
        sums[block] = squaredNorm(x + start, count: min(size, count - start))
      }
      initialized = blockCount
    }
  }

  /// Floats in a block of ``squaredNorms(_:count:)``.
  public static let normBlock = 65536
}

/// Sum of squares in double, four lanes in order, then their tree, then the tail.
func squaredNorm(_ x: ConstantFloats, count: Int) -> Double {
  var lanes = SIMD4<Double>.zero
  var index = 0
  while index + 4 <= count {
    let wide = SIMD4<Double>(
      UnsafeRawPointer(x + index).loadUnaligned(as: SIMD4<Float>.self))
    lanes += wide * wide
    index += 4
  }
  var sum = (lanes.x + lanes.y) + (lanes.z + lanes.w)
  while index < count {
    sum += Double(x[index]) * Double(x[index])
    index += 1
  }
  return sum
}

private func power(_ base: Double, _ exponent: Int) -> Double {
  var result = 1.0
  var factor = base
  var rest = exponent
  while rest > 0 {
    if rest & 1 == 1 { result *= factor }
    factor *= factor
    rest >>= 1
  }
  return result
}
