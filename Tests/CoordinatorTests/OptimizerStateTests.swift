import Tensor
import Testing

@testable import Coordinator

/// The arrays that an optimizer keeps, and a checkpoint saves.
@Suite struct OptimizerStateTests {
  private func settings(
    _ name: RunConfiguration.OptimizerName, momentum: Double
  ) -> RunConfiguration.OptimizerSettings {
    var settings = RunConfiguration.OptimizerSettings()
    settings.name = name
    settings.momentum = momentum
    (settings.alpha, settings.eps, settings.weightDecay) = (0.75, 0.5, 0)
    return settings
  }

  @Test(arguments: [
    (RunConfiguration.OptimizerName.adamw, 0.0, ["first_moment", "second_moment"]),
    (.adamw, 0.5, ["first_moment", "second_moment"]), (.sgd, 0, []), (.sgd, 0.5, ["velocity"]),
    (.rmsprop, 0, ["second_moment"]), (.rmsprop, 0.5, ["second_moment", "velocity"]),
  ])
  func arraysAreThoseOfTheRule(
    name: RunConfiguration.OptimizerName, momentum: Double, expected: [String]
  ) {
    let state = OptimizerState(settings(name, momentum: momentum), slice: 64..<74)
    #expect(state.arrays.map(\.name) == expected)
    for array in state.arrays {
      #expect(array.buffer.count == 10)
      #expect((0..<10).allSatisfy { array.buffer.base[$0] == 0 })
    }
  }

  /// Two updates by hand: g = 4 · ½ = 2, then g = 2 again; α = ¾, ε = ½, lr = 1.
  @Test(arguments: [0, 0.5])
  func rmsPropFillsItsArrays(momentum: Double) {
    let state = OptimizerState(settings(.rmsprop, momentum: momentum), slice: 0..<3)
    let compute = Compute(threadCount: 1)
    let (weights, gradient) = (FloatBuffer(count: 3), FloatBuffer(count: 3))
    for index in 0..<3 { gradient.base[index] = 4 }
    var (weight, velocity) = (0.0, 0.0)
    for (update, square) in [(1, 1.0), (2, 1.75)] {
      state.update(
        weights: MasterWeights(floats: weights.base, count: 3), gradient: gradient.base,
        scale: 0.5, learningRate: 1,
        compute: compute)
      velocity = momentum * velocity + 2 / (square.squareRoot() + 0.5)
      weight -= velocity
      #expect(state.updateCount == update)
      for index in 0..<3 {
        #expect(state.arrays[0].buffer.base[index] == Float(square))
        if momentum > 0 {
          #expect(abs(Double(state.arrays[1].buffer.base[index]) - velocity) < 1e-6)
        }
        #expect(abs(Double(weights.base[index]) - weight) < 1e-6)
      }
    }
  }
}
