import Glibc
import Tensor
import Testing

private let counts = [1, 7, 64, 65, 1000]

@Suite struct OptimizerTests {
  /// Five steps of torch.optim.AdamW in Double beside five in float.
  @Test(arguments: Setting.all, [0, 0.1]) func adamWIsTorchs(
    _ setting: Setting, weightDecay: Double
  ) {
    let compute = setting.compute()
    for count in counts {
      var w = Table(rows: 1, columns: count, seed: 120)
      var m = Table(rows: 1, columns: count)
      var v = Table(rows: 1, columns: count)
      let (weights, first, second) = (Operand(w), Operand(m), Operand(v))
      let (rate, beta1, beta2, epsilon) = (0.01, 0.9, 0.95, 1e-6)
      for step in 1...5 {
        let gradient = Table(rows: 1, columns: count, seed: 121 + UInt64(step), deviation: 40)
        let scale = 1.0 / 32
        let operand = Operand(gradient)
        compute.adamW(
          weights: weights.masters, gradient: operand.base, scale: Float(scale), first: first.base,
          second: second.base,
          constants: AdamWStep(
            learningRate: rate, betas: (beta1, beta2), epsilon: epsilon,
            weightDecay: weightDecay, step: step))
        for index in 0..<count {
          let g = gradient[0, index] * scale
          w[0, index] *= 1 - rate * weightDecay
          m[0, index] = beta1 * m[0, index] + (1 - beta1) * g
          v[0, index] = beta2 * v[0, index] + (1 - beta2) * g * g
          let corrected = sqrt(v[0, index] / (1 - pow(beta2, Double(step)))) + epsilon
          w[0, index] -= rate / (1 - pow(beta1, Double(step))) * m[0, index] / corrected
        }
        expectClose(weights, w, tolerance: 1e-6, "step \(step)")
        expectClose(first, m, tolerance: 1e-6)
        expectClose(second, v, tolerance: 1e-6)
      }
    }
  }

  /// Late steps: the bias corrections vanish.
  @Test func adamWAtALateStep() {
    let compute = Compute(threadCount: 1)
    let one = Table(rows: 1, columns: 9).filled(1)
    let (weights, gradient, first, second) = (
      Operand(one), Operand(one), Operand(one), Operand(one)
    )
    compute.adamW(
      weights: weights.masters, gradient: gradient.base, scale: 1, first: first.base,
      second: second.base,
      constants: AdamWStep(
        learningRate: 0.125, betas: (0.9, 0.999), epsilon: 0, weightDecay: 0, step: 1_000_000))
    expectClose(weights, one.filled(0.875), tolerance: 1e-6)
  }

  @Test(arguments: Setting.all, [(0.0, 0.0), (0, 0.1), (0.9, 0), (0.9, 0.1)])
  func sgdIsTorchs(_ setting: Setting, constants: (momentum: Double, weightDecay: Double)) {
    let compute = setting.compute()
    for count in counts {
      var w = Table(rows: 1, columns: count, seed: 130)
      var velocity = Table(rows: 1, columns: count)
      let weights = Operand(w)
      // Old content must not matter at the first step.
      let state = Operand(velocity.filled(123))
      for step in 1...5 {
        let gradient = Table(rows: 1, columns: count, seed: 131 + UInt64(step))
        let operand = Operand(gradient)
        compute.sgd(
          weights: weights.masters, gradient: operand.base, scale: 0.25,
          velocity: constants.momentum == 0 ? nil : state.base,
          learningRate: 0.05, momentum: constants.momentum,
          weightDecay: constants.weightDecay, isFirst: step == 1)
        for index in 0..<count {
          let g = gradient[0, index] * 0.25 + constants.weightDecay * w[0, index]
          velocity[0, index] = step == 1 ? g : constants.momentum * velocity[0, index] + g
          w[0, index] -= 0.05 * (constants.momentum == 0 ? g : velocity[0, index])
        }
        expectClose(weights, w, tolerance: 1e-6, "step \(step)")
      }
      if constants.momentum != 0 { expectClose(state, velocity, tolerance: 1e-6) }
    }
  }

  /// Five steps of torch.optim.RMSprop (not centered) in Double beside five in float.
  @Test(arguments: Setting.all, [(0.0, 0.0), (0, 0.1), (0.9, 0), (0.5, 0.1)])
  func rmsPropIsTorchs(_ setting: Setting, constants: (momentum: Double, weightDecay: Double)) {
    let compute = setting.compute()
    for count in counts {
      var w = Table(rows: 1, columns: count, seed: 150)
      var v = Table(rows: 1, columns: count)
      var buffer = Table(rows: 1, columns: count)
      let (weights, squares, velocity) = (Operand(w), Operand(v), Operand(buffer))
      let (rate, alpha, epsilon, scale) = (0.01, 0.9, 1e-3, 1.0 / 32)
      for step in 1...5 {
        let gradient = Table(rows: 1, columns: count, seed: 151 + UInt64(step), deviation: 40)
        let operand = Operand(gradient)
        compute.rmsProp(
          weights: weights.masters, gradient: operand.base, scale: Float(scale),
          squares: squares.base, velocity: constants.momentum == 0 ? nil : velocity.base,
          constants: RMSPropStep(
            learningRate: rate, alpha: alpha, epsilon: epsilon,
            weightDecay: constants.weightDecay, momentum: constants.momentum))
        for index in 0..<count {
          let g = gradient[0, index] * scale + constants.weightDecay * w[0, index]
          v[0, index] = alpha * v[0, index] + (1 - alpha) * g * g
          let divided = g / (sqrt(v[0, index]) + epsilon)
          buffer[0, index] = constants.momentum * buffer[0, index] + divided
          w[0, index] -= rate * (constants.momentum == 0 ? divided : buffer[0, index])
        }
        expectClose(weights, w, tolerance: 1e-6, "step \(step)")
        expectClose(squares, v, tolerance: 1e-6)
      }
      // One number alone may be what is left of a cancellation.
      if constants.momentum != 0, count > 1 { expectClose(velocity, buffer, tolerance: 1e-6) }
    }
  }

  @Test(arguments: Setting.all) func squaredNormsAreBlockSums(_ setting: Setting) {
    let compute = setting.compute()
    let size = Compute.normBlock
    for count in [0, 1, 3, 5, size - 1, size, size + 1, 3 * size + 6] {
      let x = Table(rows: 1, columns: count, seed: 140)
      let operand = Operand(x)
      let found = compute.squaredNorms(operand.base, count: count)
      #expect(found.count == (count + size - 1) / size)
      for (block, sum) in found.enumerated() {
        var expected = 0.0
        for index in block * size..<min(count, (block + 1) * size) {
          expected += x[0, index] * x[0, index]
        }
        #expect(abs(sum - expected) <= 1e-12 * expected, "block \(block) of \(count)")
      }
    }
  }

  /// A number that is not finite shows in its block and in no other.
  @Test func squaredNormsShowWhatIsNotFinite() {
    let compute = Compute(threadCount: 2)
    let size = Compute.normBlock
    for place in [0, size - 1, size, size + 2, size + 3] {
      for value in [Double.nan, .infinity, -.infinity] {
        var x = Table(rows: 1, columns: size + 4).filled(1)
        x[0, place] = value
        let operand = Operand(x)
        let found = compute.squaredNorms(operand.base, count: size + 4)
        #expect(found.map(\.isFinite) == [place >= size, place < size])
      }
    }
    // The square of a large float is no overflow in Double.
    let large = Operand(Table(rows: 1, columns: 4).filled(1e38))
    #expect(compute.squaredNorms(large.base, count: 4).allSatisfy { $0.isFinite })
  }
}
