import Checkpoint
import JSONText

/// How the rows of a run's files become token ids.
struct TokenRecipe {
  /// Whose tokenizer, end token and chat template are used.
  let model: ModelFolder
  /// How rows become text.
  let template: RunConfiguration.Template
  /// Lengths; rows of prompts know that of the prompt only.
  let limits: LengthLimits
  /// What lines are read for.
  let purpose: DataRows.Purpose

  /// Changes whenever the same settings give other records than before.
  private static let version = 2

  /// All that the records of a file depend on, in short: two files of one key have the same records.
  func key(_ file: RunConfiguration.DataFile, form: DataForm?, contentDigest: String) -> String {
    var parts = [
      "version \(Self.version)", contentDigest, "form \(form?.rawValue ?? "auto")",
      "limit \(file.limit.map(String.init) ?? "none")", "template \(template.name)",
      "lengths \(limits.maxLength) \(limits.maxPromptLength) \(limits.overlong.rawValue)",
      "end \(model.endToken.map(String.init) ?? "none")",
    ]
    switch purpose {
    case .any: parts.append("any")
    case .completions: parts.append("completions")
    case .pairs: parts.append("pairs")
    case .prompts(let keepsResponses): parts.append("prompts \(keepsResponses)")
    }
    for (name, bytes) in model.assets
    where name.hasPrefix("tokenizer") || name.hasPrefix("chat_template") {
      parts.append("\(name) \(digest(ofBytes: bytes))")
    }
    return digest(ofBytes: Array(parts.joined(separator: "\n").utf8))
  }

  /// Tokenises a file.
  ///
  /// - Parameters:
  ///   - file: its path and how much of it is read.
  ///   - form: what its keys mean; nil goes by those of the first line.
  ///   - take: gets each usable row, and the part of the file that was read.
  /// - Returns: what became of the rows.
  /// - Throws: `DataError` if a line is wrong or no row is usable; what `take` throws.
  func records(
    of file: RunConfiguration.DataFile, form: DataForm?,
    _ take: (TokenRecord, Double) throws -> Void
  ) throws -> RowCounts {
    let rows = try DataRows(path: file.path, form: form, limit: file.limit, for: purpose)
    let template = try model.template(template)
    let encoder = model.encoder(limits: limits)
    var counts = RowCounts()
    while let row = try rows.next() {
      let text = try template.text(of: row)
      if text.isTie, case .pairs = purpose {
        counts.tied += 1
        continue
      }
      guard let record = record(of: text, encoder, &counts) else { continue }
      counts.usable += 1
      if !record.chosen.isEmpty { counts.withResponses += 1 }
      try take(record, rows.share)
    }
    guard counts.usable > 0 else { throw DataError(file.path, counts.noUsableRow) }
    return counts
  }

  private func record(
    of text: TextRow, _ encoder: RowEncoder, _ counts: inout RowCounts
  ) -> TokenRecord? {
    var row = encoder.unlimited(text)
    var responses = row.responses
    if purpose == .completions { row.responses = Array(row.responses.prefix(1)) }
    if case .prompts = purpose { row.responses = [] }
    let found: RowEncoder.EncodedRow
    switch encoder.limited(row) {
    case .row(let limited): found = limited
    case .overlong:
      counts.overlong += 1
      return nil
    case .empty:
      counts.empty += 1
      return nil
    }
    var prompt = found.prompt
    if case .prompts = purpose {
      // Responses that are beyond a limit are not there; the prompt stays.
      row.responses = responses
      responses = []
      if case .row(let pair) = encoder.limited(row), pair.responses.count == 2 {
        (prompt, responses) = (pair.prompt, pair.responses)
      }
    } else {
      responses = found.responses
    }
    if found.isCut { counts.cut += 1 }
    return TokenRecord(
      prompt: prompt, chosen: responses.first ?? [],
      rejected: responses.count > 1 ? responses[1] : [], promptText: text.prompt,
      chosenText: responses.isEmpty ? "" : text.chosen, margin: text.margin)
  }
}

/// What became of a file's rows.
struct RowCounts: Equatable {
  /// Rows that can be used.
  var usable = 0
  /// Those of them that have a response.
  var withResponses = 0
  /// Rows left out because a limit was passed.
  var overlong = 0
  /// Rows left out because the prompt or a completion has no token.
  var empty = 0
  /// Rows left out because the data prefers neither response.
  var tied = 0
  /// Rows kept with some tokens cut away.
  var cut = 0

  private static let keys: [(name: String, path: WritableKeyPath<RowCounts, Int> & Sendable)] = [
    ("rows", \.usable), ("with_responses", \.withResponses), ("overlong", \.overlong),
    ("empty", \.empty), ("tied", \.tied), ("cut", \.cut),
  ]

  /// The counts by name.
  var members: [JSON.Member] {
    Self.keys.map { JSON.Member(key: $0.name, value: .integer(Int64(self[keyPath: $0.path]))) }
  }

  /// No rows at all.
  init() {}

  /// The counts by name; nil if one is missing.
  init?(_ json: JSON) {
    for (name, path) in Self.keys {
      guard let count = json[name]?.integer, count >= 0 else { return nil }
      self[keyPath: path] = count
    }
  }

  /// Adds the counts of another file.
  mutating func add(_ other: RowCounts) {
    for (_, path) in Self.keys { self[keyPath: path] += other[keyPath: path] }
  }

  /// A sentence for people on the rows that are left out, nil if none is.
  var leftOut: String? {
    var parts: [String] = []
    if overlong > 0 || empty > 0 {
      parts.append(
        "\(overlong) rows beyond data.max_length or data.max_prompt_length and \(empty) without a "
          + "token")
    }
    if tied > 0 { parts.append("\(tied) rows whose responses have the same score") }
    return parts.isEmpty ? nil : "left out " + parts.joined(separator: ", and ")
  }

  /// Why there is nothing to train on.
  var noUsableRow: String {
    "no usable row: \(overlong) beyond data.max_length or data.max_prompt_length, "
      + "\(empty) without a token"
      + (tied > 0 ? ", \(tied) whose responses have the same score" : "")
      + "; raise the limits or set overlong: cut"
  }
}
