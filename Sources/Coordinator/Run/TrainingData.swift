import Foundation
import Worker

/// Tokenised rows of a run and the texts that oracles and samples show.
struct TrainingData {
  /// Rows of preference pairs, of prompts with empty responses; none for `method: sft`.
  var pairs: [TokenPair] = []
  /// Rows of prompts and completions; empty unless `method: sft`.
  var completions: [TokenCompletion] = []
  /// Prompt text of each row.
  var prompts: [String] = []
  /// Chosen text of each row, empty where there is none.
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

  /// What the lines of a file are read for.
  enum Kind {
    /// Prompts with completions to imitate.
    case completions
    /// Preference pairs.
    case pairs
    /// Prompts; for evaluation with the responses of the lines that have a usable pair.
    case prompts(keepingResponses: Bool)

    /// What a run reads a file for.
    init(_ configuration: RunConfiguration, forEvaluation: Bool) {
      if configuration.method == .sft {
        self = .completions
      } else if configuration.trainsOnPromptsAlone {
        self = .prompts(keepingResponses: forEvaluation)
      } else {
        self = .pairs
      }
    }
  }

  /// Reads and tokenises a file.
  ///
  /// - Parameters:
  ///   - path: a JSONL file.
  ///   - kind: what its lines are read for.
  ///   - model: whose tokenizer and end token are used.
  ///   - limits: lengths; rows of prompts know that of the prompt only.
  /// - Throws: `DataError` if a line is wrong or no row is usable.
  init(
    path: String, kind: Kind, model: ModelFolder, limits: LengthLimits
  ) throws(DataError) {
    switch kind {
    case .completions:
      let texts = try CompletionRow.read(path: path)
      let rows = try model.encoder(limits: limits).completions(texts, name: path)
      completions = rows.rows
      prompts = rows.sources.map { texts[$0].prompt }
      chosen = rows.sources.map { texts[$0].completion }
      count(rows)
    case .pairs:
      let texts = try Self.pairTexts(path: path)
      let rows = try model.encoder(limits: limits).pairs(texts, name: path)
      pairs = rows.rows
      prompts = rows.sources.map { texts[$0].prompt }
      chosen = rows.sources.map { texts[$0].chosen }
      count(rows)
    case .prompts(let keepsResponses):
      let lines = try DataLine.read(path: path)
      var texts: [PromptRow] = []
      for line in lines { texts.append(try PromptRow(line)) }
      var promptLimits = limits
      promptLimits.maxLength = .max
      let rows = try model.encoder(limits: promptLimits).prompts(texts, name: path)
      prompts = rows.sources.map { texts[$0].prompt }
      count(rows)
      let encoder = model.encoder(limits: limits)
      for (prompt, source) in zip(rows.rows, rows.sources) {
        let text = keepsResponses ? try? PreferenceRow(lines[source]) : nil
        let pair = text.flatMap { try? encoder.pairs([$0], name: path).rows.first }
        pairs.append(pair ?? TokenPair(prompt: prompt, chosen: [], rejected: []))
        chosen.append(pair == nil ? "" : text?.chosen ?? "")
      }
    }
  }

  /// The pairs of a file; a row that has only a prompt is told what it would need.
  private static func pairTexts(path: String) throws(DataError) -> [PreferenceRow] {
    var rows: [PreferenceRow] = []
    for line in try DataLine.read(path: path) {
      if line.has("prompt"), !line.has("chosen") {
        throw DataError(
          line.place,
          "the key \"chosen\" is missing; rows with only a prompt need online fractions "
            + "(sail.dpp.fraction, sail.dpr.fraction) that sum to 1, with method: sail and a "
            + "sail.ddp.fraction of 0")
      }
      rows.append(try PreferenceRow(line))
    }
    return rows
  }

  private mutating func count<Row>(_ rows: TokenRows<Row>) {
    leftOut = (rows.overlongCount, rows.emptyCount)
    cutCount = rows.cutCount
  }
}

extension TrainingData {
  /// The pairs that have responses; rows of prompts may have none.
  var rowsWithResponses: [Int] { pairs.indices.filter { hasResponses($0) } }

  /// Whether a pair has responses.
  func hasResponses(_ row: Int) -> Bool { !pairs[row].chosen.isEmpty }

  /// The same prompts without responses.
  var withoutResponses: TrainingData {
    var result = self
    result.pairs = pairs.map { TokenPair(prompt: $0.prompt, chosen: [], rejected: []) }
    result.chosen = chosen.map { _ in "" }
    return result
  }
}
