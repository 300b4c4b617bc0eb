/// Constants of one RMSprop step (torch.optim.RMSprop).
public struct RMSPropStep: Sendable {
  /// Learning rate of this step.
  public var learningRate: Double
  /// Decay of the mean square.
  public var alpha: Double
  /// Added to the root of the mean square.
  public var epsilon: Double
  /// Decay of the weights, added to the gradient.
  public var weightDecay: Double
  /// Momentum on the divided gradient.
  public var momentum: Double

  /// The constants of one step.
  public init(
    learningRate: Double, alpha: Double, epsilon: Double, weightDecay: Double, momentum: Double
  ) {
    self.learningRate = learningRate
    self.alpha = alpha
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.momentum = momentum
  }
}

extension Compute {
  /// One step of torch.optim.RMSprop, not centered, over weights and flat arrays of as many floats.
  ///
  /// g = gradient · scale + decay · w; v ← α v + (1 − α) g²; d = g / (√v + ε); with momentum μ ≠ 0:
  /// b ← μ b + d, and d = b; w ← w − lr d.
  /// - Parameters:
  ///   - weights: updated.
  ///   - gradient: summed gradient.
  ///   - scale: division by the planned count and clipping in one factor.
  ///   - squares: v, updated.
  ///   - velocity: b, updated; nil without momentum.
  ///   - constants: of this step.
  public func rmsProp(
    weights: MasterWeights, gradient: UnsafePointer<Float>, scale: Float,
    squares: UnsafeMutablePointer<Float>, velocity: UnsafeMutablePointer<Float>?,
    constants: RMSPropStep
  ) {
    let rate = Float(constants.learningRate)
    let alpha = Float(constants.alpha)
    let oneMinusAlpha = Float(1 - constants.alpha)
    let epsilon = Float(constants.epsilon)
    let decay = Float(constants.weightDecay)
    let friction = Float(constants.momentum)
    updateBlocks(of: weights) { weights, block in
      let (gradient, squares) = (gradient + block.lowerBound, squares + block.lowerBound)
      if let velocity = velocity.map({ $0 + block.lowerBound }) {
        for index in 0..<block.count {
          let g = gradient[index] * scale + decay * weights[index]
          let v = alpha * squares[index] + oneMinusAlpha * g * g
          squares[index] = v
          velocity[index] = friction * velocity[index] + g / (v.squareRoot() + epsilon)
          weights[index] -= rate * velocity[index]
        }
      } else {
        for index in 0..<block.count {
          let g = gradient[index] * scale + decay * weights[index]
          let v = alpha * squares[index] + oneMinusAlpha * g * g
          squares[index] = v
          weights[index] -= rate * g / (v.squareRoot() + epsilon)
        }
      }
    }
  }
}
