import Synthetic

/// What `sail synthesize` is asked; nil leaves a default.
public struct SynthesizeOptions: Sendable {
  var folder: String
  var settings: SyntheticDataSet.Settings

  /// Options from their parts.
  public init(
    folder: String, seed: UInt64, labelNoise: Double?, supervised: Int?, pairs: Int?,
    evaluationPairs: Int?, vocabulary: Int?, hidden: Int?, layers: Int?
  ) {
    self.folder = folder
    var settings = SyntheticDataSet.Settings()
    settings.seed = seed
    settings.labelNoise = labelNoise ?? settings.labelNoise
    settings.supervisedCount = supervised ?? settings.supervisedCount
    settings.trainCount = pairs ?? settings.trainCount
    settings.evalCount = evaluationPairs ?? settings.evalCount
    settings.vocabularySize = vocabulary ?? settings.vocabularySize
    settings.model.hiddenSize = hidden ?? settings.model.hiddenSize
    settings.model.layerCount = layers ?? settings.model.layerCount
    // A width beyond reason is left for the settings' own check to refuse.
    if let hidden, hidden < 1 << 20 { settings.model.intermediateSize = hidden * 11 / 4 }
    self.settings = settings
  }
}

/// Writes a synthetic data set and the configuration of a small model.
///
/// - Parameters:
///   - options: folder and sizes.
///   - progress: called with a line a file.
/// - Throws: `SyntheticError` for settings that cannot be or a folder that cannot be written.
public func synthesize(_ options: SynthesizeOptions, progress: (String) -> Void) throws {
  try SyntheticDataSet.write(
    options.settings, folder: options.folder, progress: progress)
}
