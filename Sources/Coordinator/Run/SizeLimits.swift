/// Sizes beyond which a setting is a slip, not a wish: memory would end first.
enum SizeLimits {
  /// Rows of a step.
  static let rows = 1 << 20
  /// Tokens of a completion.
  static let newTokens = 1 << 17
  /// Completions of a prompt.
  static let samples = 1 << 16
}

extension RunConfiguration {
  /// Refuses sizes that no machine holds.
  func checkSizes() throws(ConfigurationError) {
    guard batch.pairs <= SizeLimits.rows else {
      throw ConfigurationError(
        "batch.pairs must be at most \(SizeLimits.rows), found \(batch.pairs)")
    }
    let (waiting, overflow) = batch.pairs.multipliedReportingOverflow(by: generation.every)
    guard !overflow, waiting <= SizeLimits.rows else {
      throw ConfigurationError(
        "batch.pairs (\(batch.pairs)) times generation.every (\(generation.every)) must be at most "
          + "\(SizeLimits.rows) rows, whose responses wait in memory; lower generation.every")
    }
    guard generation.maxNewTokens <= SizeLimits.newTokens else {
      throw ConfigurationError(
        "generation.max_new_tokens must be at most \(SizeLimits.newTokens), found "
          + "\(generation.maxNewTokens)")
    }
  }
}

/// Refuses a number of new tokens or samples that no machine holds.
func checkGenerationSizes(maxNewTokens: Int, samples: Int = 1) throws(ConfigurationError) {
  guard maxNewTokens <= SizeLimits.newTokens else {
    throw ConfigurationError(
      "--max-new-tokens must be at most \(SizeLimits.newTokens), found \(maxNewTokens)")
  }
  guard samples <= SizeLimits.samples else {
    throw ConfigurationError(
      "--samples must be at most \(SizeLimits.samples), found \(samples)")
  }
}
