import Foundation
import Worker

/// Tokenised rows of a run and the texts that oracles and samples show.
struct TrainingData {
  /// Rows of preference pairs; empty for `method: sft`.
  var pairs: [TokenPair] = []
  /// Rows of prompts and completions; empty unless `method: sft`.
  var completions: [TokenCompletion] = []
  /// Prompt text of each row.
  var prompts: [String] = []
  /// Chosen text of each row.
  var chosen: [String] = []
  /// Rows left out for their length, and for having no tokens.
  var leftOut = (overlong: 0, empty: 0)
  /// Rows that were cut.
  var cutCount = 0

  /// Number of rows.
  var count: Int { max(pairs.count, completions.count) }

  /// The rows at the given indices, in their order.
  func selecting(_ indices: [Int]) -> TrainingData {
    var result = self
    result.pairs = pairs.isEmpty ? [] : indices.map { pairs[$0] }
    result.completions = completions.isEmpty ? [] : indices.map { completions[$0] }
    result.prompts = indices.map { prompts[$0] }
    result.chosen = indices.map { chosen[$0] }
    return result
  }

  /// Reads and tokenises a file.
  ///
  /// - Parameters:
  ///   - path: a JSONL file.
  ///   - isSFT: reads prompts and completions instead of pairs.
  ///   - model: whose tokenizer and end token are used.
  ///   - limits: lengths.
  /// - Throws: `DataError` if a line is wrong or no row is usable.
  init(
    path: String, isSFT: Bool, model: ModelFolder, limits: LengthLimits
  ) throws(DataError) {
    let encoder = model.encoder(limits: limits)
    if isSFT {
      let texts = try CompletionRow.read(path: path)
      let rows = try encoder.completions(texts, name: path)
      completions = rows.rows
      prompts = rows.sources.map { texts[$0].prompt }
      chosen = rows.sources.map { texts[$0].completion }
      leftOut = (rows.overlongCount, rows.emptyCount)
      cutCount = rows.cutCount
    } else {
      let texts = try PreferenceRow.read(path: path)
      let rows = try encoder.pairs(texts, name: path)
      pairs = rows.rows
      prompts = rows.sources.map { texts[$0].prompt }
      chosen = rows.sources.map { texts[$0].chosen }
      leftOut = (rows.overlongCount, rows.emptyCount)
      cutCount = rows.cutCount
    }
  }
}
