import Comm

/// The rows that a run trains on and is evaluated with.
struct RunData {
  /// Training rows.
  let train: TrainingData
  /// Evaluation rows, nil for none.
  let evaluation: TrainingData?
  /// Digests of the training files' bytes, in their order.
  let digests: [String]

  /// Opens the rows of a run file, tokenised where they are not yet; collective.
  ///
  /// - Parameters:
  ///   - configuration: the run file.
  ///   - model: whose tokenizer is used.
  ///   - progress: shown while files are tokenised.
  ///   - communicator: all ranks.
  /// - Throws: what is wrong with a file.
  init(
    _ configuration: RunConfiguration, model: ModelFolder, progress: ProgressLine,
    communicator: borrowing Communicator
  ) throws {
    let settings = configuration.data
    let cache = TokenCache(configuration)
    func recipe(forEvaluation: Bool) -> TokenRecipe {
      TokenRecipe(
        model: model, template: settings.template, limits: LengthLimits(settings),
        purpose: DataRows.Purpose(configuration, forEvaluation: forEvaluation))
    }
    let rows = try TrainingData.open(
      settings.train, recipe: recipe(forEvaluation: settings.evalFraction > 0),
      form: settings.format, cache: cache, progress: progress, communicator: communicator)
    digests = rows.digests
    var train = rows.data
    if !settings.eval.isEmpty {
      evaluation = try TrainingData.open(
        settings.eval, recipe: recipe(forEvaluation: true), form: settings.format, cache: cache,
        progress: progress, communicator: communicator
      ).data
    } else if settings.evalFraction > 0 {
      let all = train
      let split = try communicator.agree {
        try EvaluationSplit(
          rowCount: all.count, fraction: settings.evalFraction, seed: settings.splitSeed,
          name: settings.train.map(\.path).joined(separator: ", "))
      }
      evaluation = all.selecting(split.evaluation)
      train = all.selecting(split.train)
    } else {
      evaluation = nil
    }
    self.train = configuration.trainsOnPromptsAlone ? train.withoutResponses : train
  }
}
