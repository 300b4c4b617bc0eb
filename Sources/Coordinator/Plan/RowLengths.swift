import Foundation

/// Tokens of a run's rows.
struct RowLengths: Equatable {
  /// Mean tokens of a prompt.
  var prompt: Double
  /// Mean tokens of a response.
  var response: Double
  /// Tokens of the longest row: its prompt once, and its responses.
  var longest: Double
  /// Where they come from, for the report.
  var source: String

  /// Rows of the training data that are looked at.
  static let sampleCount = 128
}

extension RowLengths {
  /// Lengths that are stated: all rows alike.
  init(prompt: Int, response: Int, responsesPerRow: Int) {
    self.init(
      prompt: Double(prompt), response: Double(response),
      longest: Double(prompt + responsesPerRow * response), source: "as stated")
  }

  /// The lengths of rows; without responses they are as long as `fallback` says.
  init(_ records: [TokenRecord], fallback: Int, source: String) {
    func mean(_ values: [Int]) -> Double {
      values.isEmpty ? 0 : Double(values.reduce(0, +)) / Double(values.count)
    }
    let responses = records.flatMap { [$0.chosen.count, $0.rejected.count] }.filter { $0 > 0 }
    let totals = records.map { record in
      record.prompt.count
        + (record.chosen.isEmpty ? 2 * fallback : record.chosen.count + record.rejected.count)
    }
    self.init(
      prompt: mean(records.map(\.prompt.count)),
      response: responses.isEmpty ? Double(fallback) : mean(responses),
      longest: Double(totals.max() ?? 0), source: source)
  }

  /// The lengths of the first rows of a run's first training file.
  ///
  /// - Throws: what is wrong with the tokenizer or the file.
  init(_ configuration: RunConfiguration) throws {
    let model =
      switch configuration.model {
      case .folder(let path, let base): try ModelFolder(path: path, base: base)
      case .random(let config, let tokenizer, let seed):
        try ModelFolder(configuration: config, tokenizer: tokenizer, seed: seed)
      }
    var records: [TokenRecord] = []
    guard var file = configuration.data.train.first else {
      throw ConfigurationError("data.train: there is no file")
    }
    file.limit = min(file.limit ?? .max, RowLengths.sampleCount)
    let recipe = TokenRecipe(
      model: model, template: configuration.data.template,
      limits: LengthLimits(configuration.data),
      purpose: DataRows.Purpose(configuration, forEvaluation: false))
    _ = try recipe.records(of: file, form: file.format ?? configuration.data.format) { record, _ in
      records.append(record)
    }
    self.init(
      records, fallback: configuration.generation.maxNewTokens,
      source: "of the first \(records.count) rows of \(file.path)")
  }
}
