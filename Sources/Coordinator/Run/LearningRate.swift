import Glibc

extension RunConfiguration.OptimizerSettings {
  /// Learning rate of an update, as transformers' schedules with warm-up.
  ///
  /// Warm-up: from 0 in equal parts; then constant, or down to 0 at `stepCount`, linearly or as half
  /// a cosine.
  ///
  /// - Parameters:
  ///   - step: the update, counted from 0.
  ///   - stepCount: updates of the run.
  /// - Returns: the learning rate.
  func learningRate(step: Int, stepCount: Int) -> Double {
    if step < warmupSteps { return learningRate * Double(step) / Double(warmupSteps) }
    let progress = min(1, Double(step - warmupSteps) / Double(max(1, stepCount - warmupSteps)))
    switch schedule {
    case .constant: return learningRate
    case .linear: return learningRate * (1 - progress)
    case .cosine: return learningRate * max(0, 0.5 * (1 + cos(.pi * progress)))
    }
  }
}
