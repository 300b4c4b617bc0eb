import Foundation
import JSONText

/// How `sail inspect` reads a data file.
public struct InspectDataOptions: Sendable {
  /// A model folder whose tokenizer is used; nil says of texts only what needs no tokens.
  public var model: String?
  /// What the keys mean; nil goes by those of the first line.
  public var form: DataForm?
  /// How rows become text.
  public var template: RunConfiguration.Template
  /// The limits of a run.
  public var limits: LengthLimits
  /// How many rows are shown token by token.
  public var shownRows: Int

  /// Options from their parts.
  public init(
    model: String? = nil, form: DataForm? = nil, template: RunConfiguration.Template = .auto,
    limits: LengthLimits = LengthLimits(maxLength: 1024, maxPromptLength: 512, overlong: .drop),
    shownRows: Int = 3
  ) {
    self.model = model
    self.form = form
    self.template = template
    self.limits = limits
    self.shownRows = shownRows
  }
}

/// Says what a data file holds, and with a model how its rows become tokens.
///
/// - Parameters:
///   - path: a JSONL file, plain or compressed.
///   - options: model, form, template, limits.
/// - Returns: lines for a person.
/// - Throws: `DataError` if a line is wrong or no row is usable; what is wrong with the model.
func describeData(_ path: String, _ options: InspectDataOptions) throws -> String {
  let rows = try DataRows(path: path, form: options.form, for: .any)
  guard let folder = options.model else {
    var survey = TextSurvey()
    while let row = try rows.next() { survey.add(row) }
    return survey.lines(path, form: rows.form).joined(separator: "\n")
  }
  let model = try ModelFolder(path: folder)
  let template = try model.template(options.template)
  let encoder = model.encoder(limits: options.limits)
  var survey = TokenSurvey(model: model, limits: options.limits)
  var examples: [String] = []
  while let row = try rows.next() {
    let text = try template.text(of: row)
    let found = survey.add(text, encoder)
    if survey.rowCount <= options.shownRows {
      examples.append(tokenLines(text, found, model).joined(separator: "\n"))
    }
  }
  let head =
    "\(path): \(survey.rowCount) rows of the form \(rows.form?.rawValue ?? "?"), template "
    + "\(options.template.name), limits \(options.limits.maxLength) tokens, "
    + "\(options.limits.maxPromptLength) of the prompt, overlong: \(options.limits.overlong.rawValue)"
  guard survey.counts.usable > 0 else { throw DataError(path, survey.counts.noUsableRow) }
  let legend = examples.isEmpty ? [] : ["│ between tokens; the loss counts on lines with +", ""]
  return ([head, ""] + legend + examples.flatMap { [$0, ""] } + survey.lines)
    .joined(separator: "\n")
}

/// What a file holds, without a tokenizer.
private struct TextSurvey {
  private var rowCount = 0
  private var pairCount = 0
  private var conversationCount = 0
  private var equalCount = 0
  private var tieCount = 0
  private var marginCount = 0

  mutating func add(_ row: DataRow) {
    rowCount += 1
    if row.prompt.isConversation { conversationCount += 1 }
    if row.margin != nil { marginCount += 1 }
    if row.isTie { tieCount += 1 }
    guard row.responses.count == 2 else { return }
    pairCount += 1
    let texts = row.responses.map(\.json.text)
    if texts[0].utf8.elementsEqual(texts[1].utf8) { equalCount += 1 }
  }

  func lines(_ path: String, form: DataForm?) -> [String] {
    var lines = ["\(path): \(rowCount) rows of the form \(form?.rawValue ?? "?")"]
    if pairCount > 0 { lines.append("pairs            \(pairCount), of them equal \(equalCount)") }
    if conversationCount > 0 { lines.append("conversations    \(conversationCount)") }
    if marginCount > 0 { lines.append("with a margin    \(marginCount)") }
    if tieCount > 0 { lines.append("ties             \(tieCount)") }
    return lines + ["with --model DIR: tokens, mask, lengths, what the limits cut"]
  }
}

/// A row token by token.
private func tokenLines(
  _ text: TextRow, _ outcome: RowEncoder.Outcome, _ model: ModelFolder
) -> [String] {
  switch outcome {
  case .overlong: return ["\(text.place) · left out: beyond a limit"]
  case .empty: return ["\(text.place) · left out: the prompt or a completion has no token"]
  case .row(let row):
    let names = row.responses.count == 2 ? ["chosen", "rejected"] : ["completion"]
    var head = "\(text.place) · prompt \(row.prompt.count)"
    for (name, response) in zip(names, row.responses) { head += ", \(name) \(response.count)" }
    head += " tokens"
    if let margin = text.margin { head += ", margin \(margin)" }
    if row.isCut { head += ", cut" }
    if text.isTie { head += ", a tie: left out in training" }
    func line(_ name: String, _ mark: String, _ tokens: [Int32]) -> String {
      "  \(mark) \(name.padding(toLength: 10, withPad: " ", startingAt: 0)) "
        + shown(tokens, model)
    }
    return [head, line("prompt", " ", row.prompt)]
      + zip(names, row.responses).map { line($0, "+", $1) }
  }
}

/// Tokens as text, the middle of long ones left out.
private func shown(_ tokens: [Int32], _ model: ModelFolder) -> String {
  func text(_ tokens: some Sequence<Int32>) -> String {
    tokens.map { token in
      model.tokenizer.decode([token], skipSpecialTokens: false)
        .replacing("\n", with: "⏎").replacing("\r", with: "␍").replacing("\t", with: "⇥")
        .filter { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 } }
    }.joined(separator: "│")
  }
  let (first, last) = (24, 12)
  guard tokens.count > first + last + 1 else { return text(tokens) }
  return text(tokens.prefix(first)) + "│ … \(tokens.count - first - last) more … │"
    + text(tokens.suffix(last))
}
