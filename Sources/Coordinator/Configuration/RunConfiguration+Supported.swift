extension RunConfiguration {
  /// Refuses, by name, what the run file can say and this version does not do.
  ///
  /// - Throws: `ConfigurationError` for the first such key in the order of the run file.
  public func checkSupported() throws(ConfigurationError) {
    func refuse(_ setting: String, _ instead: String) -> ConfigurationError {
      ConfigurationError("\(setting) is not implemented in this version; \(instead)")
    }
    if method == .reward { throw refuse("method: reward", "use sft, dpo or sail") }
    if data.format != "auto" { throw refuse("data.format: \(data.format)", "use auto") }
    if data.template != .auto, data.template != .plain {
      throw refuse("data.template: \(data.template.rawValue)", "use auto or plain")
    }
    if objective.loss != .sigmoid {
      throw refuse("objective.loss: \(objective.loss.rawValue)", "use sigmoid")
    }
    if objective.labelSmoothing != 0 {
      throw refuse("objective.label_smoothing: \(objective.labelSmoothing)", "use 0")
    }
    if objective.revkl != 0 { throw refuse("objective.revkl: \(objective.revkl)", "use 0") }
    if sail.dpr.labels != .argmax {
      throw refuse("sail.dpr.labels: \(sail.dpr.labels.rawValue)", "use argmax")
    }
    if sail.t1Estimator != .score {
      throw refuse("sail.t1_estimator: \(sail.t1Estimator.rawValue)", "use score")
    }
    if sail.baseline == .previous {
      throw refuse("sail.baseline: previous", "use leave-one-out or none")
    }
    if generation.temperature != 1, usesResponseTerm {
      throw refuse(
        "generation.temperature: \(generation.temperature) with a response_coefficient above 0",
        "use temperature 1 or set the coefficient to 0")
    }
    if generation.every != 1 { throw refuse("generation.every: \(generation.every)", "use 1") }
    if optimizer.name == .rmsprop { throw refuse("optimizer.name: rmsprop", "use adamw or sgd") }
    if adapter != nil { throw refuse("adapter", "leave it out to train all weights") }
    if precision != .f32 { throw refuse("precision: \(precision.rawValue)", "use f32") }
    if case .folder(let folder) = referenceCache {
      throw refuse("reference_cache: \(folder)", "use off")
    }
    if memory != .auto { throw refuse("memory: \(memory.text)", "use auto") }
  }
}
