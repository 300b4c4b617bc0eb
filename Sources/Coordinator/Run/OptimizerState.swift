import Tensor

/// A rank's slice of the optimizer's state, and the update of its slice of the weights.
final class OptimizerState {
  private let settings: RunConfiguration.OptimizerSettings
  /// Floats of the flat allocation that this rank updates.
  let slice: Range<Int>
  /// Named arrays of the slice, as they are saved: moments, or the momentum's velocity.
  let arrays: [(name: String, buffer: FloatBuffer)]
  /// Updates applied so far; a skipped step is none.
  var updateCount = 0

  init(_ settings: RunConfiguration.OptimizerSettings, slice: Range<Int>) {
    self.settings = settings
    self.slice = slice
    let names: [String]
    switch settings.name {
    case .adamw: names = ["first_moment", "second_moment"]
    case .sgd: names = settings.momentum > 0 ? ["velocity"] : []
    case .rmsprop: names = ["second_moment"] + (settings.momentum > 0 ? ["velocity"] : [])
    }
    arrays = names.map { ($0, FloatBuffer(count: slice.count)) }
  }

  /// Cuts a flat allocation into one slice a rank, in whole blocks of the norm.
  static func slices(floatCount: Int, rankCount: Int) -> [Range<Int>] {
    let blocks = (floatCount + Compute.normBlock - 1) / Compute.normBlock
    return (0..<rankCount).map { rank in
      let first = blocks * rank / rankCount * Compute.normBlock
      let last = blocks * (rank + 1) / rankCount * Compute.normBlock
      return min(first, floatCount)..<min(last, floatCount)
    }
  }

  /// Applies one update to this rank's slice.
  ///
  /// - Parameters:
  ///   - weights: the slice of the weights.
  ///   - gradient: first number of the slice's summed gradient.
  ///   - scale: division by the planned count and clipping in one factor.
  ///   - learningRate: of this update.
  ///   - compute: the rank's threads.
  func update(
    weights: MasterWeights, gradient: UnsafePointer<Float>, scale: Float,
    learningRate: Double, compute: Compute
  ) {
    updateCount += 1
    switch settings.name {
    case .adamw:
      compute.adamW(
        weights: weights, gradient: gradient, scale: scale, first: arrays[0].buffer.base,
        second: arrays[1].buffer.base,
        constants: AdamWStep(
          learningRate: learningRate, betas: (settings.firstBeta, settings.secondBeta),
          epsilon: settings.eps, weightDecay: settings.weightDecay, step: updateCount))
    case .sgd:
      compute.sgd(
        weights: weights, gradient: gradient, scale: scale,
        velocity: arrays.first?.buffer.base, learningRate: learningRate,
        momentum: settings.momentum, weightDecay: settings.weightDecay,
        isFirst: updateCount == 1)
    case .rmsprop:
      compute.rmsProp(
        weights: weights, gradient: gradient, scale: scale, squares: arrays[0].buffer.base,
        velocity: arrays.count > 1 ? arrays[1].buffer.base : nil,
        constants: RMSPropStep(
          learningRate: learningRate, alpha: settings.alpha, epsilon: settings.eps,
          weightDecay: settings.weightDecay, momentum: settings.momentum))
    }
  }
}
