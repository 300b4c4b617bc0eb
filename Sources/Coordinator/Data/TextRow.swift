/// A row as text: what the tokenizer gets, and what people and oracles get to see.
public struct TextRow: Sendable {
  /// A response as text.
  public struct Response: Sendable {
    /// What is tokenised, with the ending that a chat template gives it.
    public var text: String
    /// What was said, without a template's marks.
    public var shown: String
  }

  /// `file:line`.
  public let place: String
  /// The prompt as the model reads it.
  public var prompt: String
  /// The prompt as the data has it.
  public var given: DataText
  /// The preferred response, then the other; one completion; or none.
  public var responses: [Response]
  /// Whether a chat template made the text: it writes its own special tokens, and its own ending is
  /// the end.
  public var isTemplated = false
  /// By how much the rewards should differ, where the data says so (`margin`).
  public var margin: Double?
  /// The part of a benchmark that the row belongs to.
  public var subset: String?
  /// Whether the data prefers neither response.
  public var isTie = false

  /// A row of texts that are taken as they are.
  ///
  /// - Parameters:
  ///   - place: `file:line`.
  ///   - prompt: what is answered.
  ///   - responses: the preferred response, then the other; one completion; or none.
  public init(place: String = "", prompt: String, responses: [String]) {
    self.place = place
    self.prompt = prompt
    given = .text(prompt)
    self.responses = responses.map { Response(text: $0, shown: $0) }
  }

  /// A row of texts with all that its line says beside them.
  init(_ row: DataRow, prompt: String, responses: [Response], isTemplated: Bool) {
    place = row.place
    self.prompt = prompt
    given = row.prompt
    self.responses = responses
    self.isTemplated = isTemplated
    margin = row.margin
    subset = row.subset
    isTie = row.isTie
  }

  /// The preferred response or the completion as people see it, "" if there is none.
  var chosen: String { responses.first?.shown ?? "" }
}
