/// Turns rows of text into token ids (DESIGN.md §3, "Text and tokens").
///
/// The prompt of a plain row is encoded with special tokens, each completion by itself without, then
/// the end token follows, unless it is there already. The text of a chat template is encoded as it is:
/// it has its own special tokens, and its own ending is the end. Then the limits are applied, if there
/// are any.
public struct RowEncoder {
  /// A text's token ids, with the tokenizer's special tokens or without.
  private let encode: (String, Bool) -> [Int32]
  /// What ends a completion; nil ends it with its text.
  private let endToken: Int32?
  /// nil is no limit.
  private let limits: LengthLimits?

  /// What became of a row.
  public enum Outcome: Sendable, Equatable {
    /// It can be used.
    case row(EncodedRow)
    /// It is beyond a limit and left out.
    case overlong
    /// Its prompt or a completion has no token.
    case empty
  }

  /// A row as token ids.
  public struct EncodedRow: Sendable, Equatable {
    /// The prompt.
    public var prompt: [Int32]
    /// The responses in the order of the row, their end tokens included.
    public var responses: [[Int32]]
    /// Whether a limit cut something away.
    public var isCut = false
  }

  /// An encoder from its parts.
  ///
  /// - Parameters:
  ///   - limits: the limits, nil for none, as in `sail score`.
  ///   - endToken: the token that ends a completion, nil if the model has none.
  ///   - encode: a text's token ids; the second argument asks for special tokens.
  public init(
    limits: LengthLimits?, endToken: Int32?, encode: @escaping (String, Bool) -> [Int32]
  ) {
    self.limits = limits
    self.endToken = endToken
    self.encode = encode
  }

  /// Encodes a row and applies the limits.
  ///
  /// - Parameter row: the row as text.
  /// - Returns: its token ids, or why it cannot be used.
  public func encode(_ row: TextRow) -> Outcome { limited(unlimited(row)) }

  /// A row's token ids before any limit.
  func unlimited(_ row: TextRow) -> EncodedRow {
    EncodedRow(
      prompt: encode(row.prompt, !row.isTemplated),
      responses: row.responses.map { response in
        var tokens = encode(response.text, false)
        if !row.isTemplated, let endToken, tokens.last != endToken { tokens.append(endToken) }
        return tokens
      })
  }

  /// A row with the limits applied.
  func limited(_ row: EncodedRow) -> Outcome {
    var row = row
    if let limits {
      let longest = row.responses.map(\.count).max() ?? 0
      // A prompt by itself knows its own limit only.
      let isLong = !row.responses.isEmpty && row.prompt.count + longest > limits.maxLength
      if row.prompt.count > limits.maxPromptLength || isLong {
        guard limits.overlong == .cut else { return .overlong }
        row.isCut = true
        row.prompt = Array(row.prompt.suffix(limits.maxPromptLength))
        let room = max(0, limits.maxLength - row.prompt.count)
        row.responses = row.responses.map { Array($0.prefix(room)) }
      }
    }
    guard !row.prompt.isEmpty, row.responses.allSatisfy({ !$0.isEmpty }) else { return .empty }
    return .row(row)
  }
}
