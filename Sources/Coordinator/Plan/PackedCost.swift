import Model
import Tensor

/// What a model's forward or backward over a step's packed groups costs.
struct PackedCost {
  let step: PlannedStep
  let speeds: Speeds
  let precision: Precision

  /// The forward over all groups.
  ///
  /// - Parameters:
  ///   - decoder: the model.
  ///   - adapter: floats of an adapter on it, nil for none.
  ///   - scored: whether sequences are scored; nil: as the step's are.
  /// - Returns: operations of all ranks, seconds of one.
  func forward(
    of decoder: DecoderConfiguration, adapter: Int? = nil, scored: Bool? = nil
  ) -> StepPlan.Phase {
    let isScored = scored ?? step.isScored
    let body = Double(decoder.bodyProductWeights)
    let head = isScored ? 0 : Double(decoder.headProductWeights)
    let update = Double(adapter ?? 0)
    let attention = attentionOperations(decoder)
    let (rows, predictions) = (step.packedOfGroup, isScored ? 0 : step.predictionsOfGroup)
    let group =
      speeds.seconds(.forward, weights: body + update, rows: rows)
      + speeds.seconds(.forward, weights: head, rows: predictions)
      + attention / Double(step.groups) / speeds.attentionRate
      + elementwiseSeconds(decoder, rows: rows) + softmaxSeconds(decoder, predictions)
    return StepPlan.Phase(
      name: "",
      operations: 2 * (body + update) * step.packed + 2 * head * step.predictions + attention,
      seconds: Double(step.waves) * group)
  }

  /// The layers alone, once more in the backward.
  func layers(of decoder: DecoderConfiguration, _ adapter: Int?) -> StepPlan.Phase {
    forward(of: decoder, adapter: adapter, scored: true)
  }

  /// The backward over all groups: gradients of inputs, and of the weights that are trained.
  ///
  /// - Parameters:
  ///   - decoder: the model.
  ///   - adapter: floats of the adapter that alone is trained, nil where the weights are.
  /// - Returns: operations of all ranks, seconds of one.
  func backward(of decoder: DecoderConfiguration, adapter: Int?) -> StepPlan.Phase {
    let body = Double(decoder.bodyProductWeights)
    let head = step.isScored ? 0 : Double(decoder.headProductWeights)
    let (rows, predictions) = (step.packedOfGroup, step.isScored ? 0 : step.predictionsOfGroup)
    // Scores are computed again, then three products of gradients: five for two of the forward.
    let attention = 2.5 * attentionOperations(decoder)
    var operations = 2 * body * step.packed + 2 * head * step.predictions + attention
    var group =
      speeds.seconds(.inputGradient, weights: body, rows: rows)
      + speeds.seconds(.inputGradient, weights: head, rows: predictions)
      + attention / Double(step.groups) / speeds.attentionRate
      + 2 * elementwiseSeconds(decoder, rows: rows) + softmaxSeconds(decoder, predictions)
    var bytes = 0.0
    if let adapter {
      operations += 4 * Double(adapter) * step.packed
      group += 2 * speeds.seconds(.inputGradient, weights: Double(adapter), rows: rows)
    } else {
      operations += 2 * body * step.packed + 2 * head * step.predictions
      // Each group writes the whole gradient; one rank reads it for all but the first, which it adds there.
      let additions = step.rankCount == 1 ? step.groups - 1 : 0
      bytes = 4 * (body + head) * Double(step.groups + additions)
      group +=
        speeds.seconds(.weightGradient, weights: body, rows: rows)
        + speeds.seconds(.weightGradient, weights: head, rows: predictions)
        + bytes / Double(step.groups) / speeds.bandwidth(.triad)
    }
    return StepPlan.Phase(
      name: "", operations: operations, bytes: bytes, seconds: Double(step.waves) * group)
  }

  /// Operations of attention's forward over all rows of a step.
  private func attentionOperations(_ decoder: DecoderConfiguration) -> Double {
    step.rows.reduce(0) { sum, row in
      sum + row.count
        * decoder.attentionOperations(
          prompt: row.prompt, completions: row.completions.map { $0 - 1 })
    }
  }

  private func elementwiseSeconds(_ decoder: DecoderConfiguration, rows: Double) -> Double {
    rows * Double(decoder.layerCount * decoder.elementwiseBytes(precision))
      / speeds.bandwidth(.copy)
  }

  private func softmaxSeconds(_ decoder: DecoderConfiguration, _ predictions: Double) -> Double {
    predictions * Double(decoder.vocabularySize) * Speeds.logitSeconds / Double(speeds.threads)
  }
}
