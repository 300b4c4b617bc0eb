/// Why a `tokenizer.json` cannot be used.
public struct TokenizerError: Error, CustomStringConvertible, Sendable {
  /// A sentence: what is wrong, in which file, what was expected and found, and what to do.
  public let description: String
}
