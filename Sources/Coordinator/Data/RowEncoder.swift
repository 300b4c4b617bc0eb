/// Turns rows of text into rows of token ids (DESIGN.md §3, "Text and tokens").
///
/// The prompt is encoded with special tokens, each completion by itself without, then the end token
/// follows, unless it is there already. Then the limits are applied, if there are any.
public struct RowEncoder {
  /// A text's token ids, with the tokenizer's special tokens or without.
  private let encode: (String, Bool) -> [Int32]
  /// What ends a completion; nil ends it with its text.
  private let endToken: Int32?
  /// nil is no limit.
  private let limits: LengthLimits?

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

  /// Encodes preference rows.
  ///
  /// - Parameters:
  ///   - rows: the rows of text.
  ///   - name: what the error calls the data.
  /// - Returns: the usable rows, at least one, and counts of the others.
  /// - Throws: `DataError` if no row is usable.
  public func pairs(
    _ rows: [PreferenceRow], name: String
  ) throws(DataError) -> TokenRows<TokenPair> {
    var result = TokenRows<TokenPair>()
    for (index, row) in rows.enumerated() {
      add(index, row.prompt, [row.chosen, row.rejected], to: &result) { prompt, completions in
        TokenPair(prompt: prompt, chosen: completions[0], rejected: completions[1])
      }
    }
    return try nonEmpty(result, name: name)
  }

  /// Encodes completion rows.
  ///
  /// - Parameters:
  ///   - rows: the rows of text.
  ///   - name: what the error calls the data.
  /// - Returns: the usable rows, at least one, and counts of the others.
  /// - Throws: `DataError` if no row is usable.
  public func completions(
    _ rows: [CompletionRow], name: String
  ) throws(DataError) -> TokenRows<TokenCompletion> {
    var result = TokenRows<TokenCompletion>()
    for (index, row) in rows.enumerated() {
      add(index, row.prompt, [row.completion], to: &result) { prompt, completions in
        TokenCompletion(prompt: prompt, completion: completions[0])
      }
    }
    return try nonEmpty(result, name: name)
  }

  /// Encodes prompts; the limits see a row without a completion.
  ///
  /// - Parameters:
  ///   - rows: the rows of text.
  ///   - name: what the error calls the data.
  /// - Returns: the usable prompts, at least one, and counts of the others.
  /// - Throws: `DataError` if no row is usable.
  public func prompts(
    _ rows: [PromptRow], name: String
  ) throws(DataError) -> TokenRows<[Int32]> {
    var result = TokenRows<[Int32]>()
    for (index, row) in rows.enumerated() {
      add(index, row.prompt, [], to: &result) { prompt, _ in prompt }
    }
    return try nonEmpty(result, name: name)
  }

  private func add<Row>(
    _ index: Int, _ promptText: String, _ completionTexts: [String],
    to result: inout TokenRows<Row>,
    _ make: ([Int32], [[Int32]]) -> Row
  ) {
    var prompt = encode(promptText, true)
    var completions = completionTexts.map { text in
      var tokens = encode(text, false)
      if let endToken, tokens.last != endToken { tokens.append(endToken) }
      return tokens
    }
    var isCut = false
    if let limits {
      let longest = completions.map(\.count).max() ?? 0
      if prompt.count > limits.maxPromptLength || prompt.count + longest > limits.maxLength {
        guard limits.overlong == .cut else {
          result.overlongCount += 1
          return
        }
        isCut = true
        prompt = Array(prompt.suffix(limits.maxPromptLength))
        let room = max(0, limits.maxLength - prompt.count)
        completions = completions.map { Array($0.prefix(room)) }
      }
    }
    guard !prompt.isEmpty, completions.allSatisfy({ !$0.isEmpty }) else {
      result.emptyCount += 1
      return
    }
    if isCut { result.cutCount += 1 }
    result.rows.append(make(prompt, completions))
    result.sources.append(index)
  }

  private func nonEmpty<Row>(
    _ result: TokenRows<Row>, name: String
  ) throws(DataError) -> TokenRows<Row> {
    guard result.rows.isEmpty else { return result }
    throw DataError(
      name,
      "no usable row: \(result.overlongCount) beyond data.max_length or data.max_prompt_length, "
        + "\(result.emptyCount) without a token; raise the limits or set overlong: cut")
  }
}
