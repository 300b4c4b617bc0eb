/// The rows of a data file, one after the other.
final class DataRows {
  /// What the lines of a file are read for.
  enum Purpose: Equatable {
    /// Prompts with completions to imitate.
    case completions
    /// Preference pairs; `hint` tells a row that has only a prompt what it would need.
    case pairs(hint: String = "")
    /// Whatever they hold.
    case any
    /// Prompts, with the responses of the lines that have a usable pair where those are kept.
    case prompts(keepingResponses: Bool)
  }

  private let lines: DataLines
  private let purpose: Purpose
  private let limit: Int
  /// What the keys mean; nil before the first row where it goes by those.
  private(set) var form: DataForm?
  private var count = 0

  /// The rows of a file.
  ///
  /// - Parameters:
  ///   - path: a JSONL file, plain or compressed.
  ///   - form: what its keys mean; nil goes by those of the first line.
  ///   - limit: the most rows; nil is all.
  ///   - purpose: what they are read for.
  /// - Throws: `DataError` if there is no such file.
  init(
    path: String, form: DataForm? = nil, limit: Int? = nil, for purpose: Purpose
  ) throws(DataError) {
    lines = try DataLines(path: path)
    self.form = form
    self.limit = limit ?? .max
    self.purpose = purpose
  }

  /// The part of the file that was read, from 0 to 1.
  var share: Double { lines.share }

  /// The next row, nil at the end.
  ///
  /// - Returns: a row with the responses that its purpose needs; a pair may be a tie without any.
  /// - Throws: `DataError` if a line does not fit the file's form or purpose, or there is none.
  func next() throws(DataError) -> DataRow? {
    guard count < limit, let line = try lines.next() else { return nil }
    count += 1
    let form = try form(of: line)
    switch purpose {
    case .any: return try form.row(line)
    case .prompts(let keepsResponses):
      var row = try prompt(line, form)
      if !keepsResponses || row.responses.count != 2 || row.isTie { row.responses = [] }
      return row
    case .completions:
      let row = try form.row(line)
      guard !row.responses.isEmpty || row.isTie else {
        throw DataError(
          line.place, "the key \"completion\" is missing; supervised rows need one")
      }
      return row
    case .pairs(let hint):
      if form == .preference || form == .promptOnly, line.has("prompt"), !line.has("chosen") {
        throw DataError(line.place, "the key \"chosen\" is missing" + hint)
      }
      let row = try form.row(line)
      guard row.responses.count == 2 || row.isTie else {
        throw DataError(
          line.place,
          "rows of the form \(form.rawValue) have no pair of responses; give chosen and rejected")
      }
      return row
    }
  }

  /// The file's form, recognised by its first line unless it was given.
  private func form(of line: DataLine) throws(DataError) -> DataForm {
    if let form { return form }
    let found = try DataForm(recognizing: line)
    form = found
    return found
  }

  /// A prompt with the responses that the line has, if they are of use.
  private func prompt(_ line: DataLine, _ form: DataForm) throws(DataError) -> DataRow {
    switch form {
    case .preference, .promptOnly, .promptCompletion:
      if let row = try? DataForm.preference.row(line) { return row }
      return try DataForm.promptOnly.row(line)
    case .messages, .safeRLHF, .safeRLHFSafer, .ultraFeedback: return try form.row(line)
    }
  }
}
