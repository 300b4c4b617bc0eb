/// How a command that uses a model reads its data.
public struct DataOptions: Sendable {
  /// The JSONL file, plain or compressed.
  public var path: String
  /// What its keys mean; nil goes by those of its first line.
  public var form: DataForm?
  /// How rows become text.
  public var template: RunConfiguration.Template

  /// Options from their parts.
  public init(path: String, form: DataForm? = nil, template: RunConfiguration.Template = .auto) {
    self.path = path
    self.form = form
    self.template = template
  }

  /// The rows of the file.
  ///
  /// - Parameters:
  ///   - purpose: what they are read for.
  ///   - limit: the most rows; nil is all.
  /// - Returns: what the lines say, in their order.
  /// - Throws: `DataError` if a line is wrong or there is none.
  func rows(for purpose: DataRows.Purpose, limit: Int? = nil) throws(DataError) -> [DataRow] {
    let rows = try DataRows(path: path, form: form, limit: limit, for: purpose)
    var result: [DataRow] = []
    while let row = try rows.next() { result.append(row) }
    return result
  }

  /// Rows as text for a model.
  ///
  /// - Parameters:
  ///   - rows: what the lines say.
  ///   - model: whose chat template is used where one is.
  /// - Returns: the rows in their order.
  /// - Throws: what a template has no place for.
  func texts(_ rows: [DataRow], for model: ModelFolder) throws -> [TextRow] {
    let template = try model.template(template)
    return try rows.map { try template.text(of: $0) }
  }
}

/// All rows as token ids without limits; one without tokens is an error, as lines must match.
func everyRow(
  _ texts: [TextRow], of model: ModelFolder
) throws(DataError) -> [RowEncoder.EncodedRow] {
  let encoder = model.encoder(limits: nil)
  var rows: [RowEncoder.EncodedRow] = []
  for text in texts {
    guard case .row(let row) = encoder.encode(text) else {
      throw DataError(
        text.place, "the prompt or a completion has no token; give it some text")
    }
    rows.append(row)
  }
  return rows
}

/// All pairs as token ids without limits; a row that is no pair is an error, as lines must match.
func everyPair(_ texts: [TextRow], of model: ModelFolder) throws -> [TokenPair] {
  var pairs: [TokenPair] = []
  for (text, row) in zip(texts, try everyRow(texts, of: model)) {
    guard row.responses.count == 2 else {
      throw DataError(text.place, "the row has fewer than two completions; leave it out")
    }
    let longest = row.responses.map(\.count).max() ?? 0
    try model.checkPositions(row.prompt.count + longest, "\(text.place) has")
    pairs.append(
      TokenPair(
        prompt: row.prompt, chosen: row.responses[0], rejected: row.responses[1],
        margin: text.margin))
  }
  return pairs
}
