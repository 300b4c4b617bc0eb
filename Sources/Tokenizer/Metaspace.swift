import JSONText

/// Spaces written as a visible character, SentencePiece's "▁": a pre-tokenizer and a decoder.
struct Metaspace: Sendable {
  /// Where the character is put before a text that does not begin with it.
  enum Prepending: String, Sendable {
    case always, first, never
  }

  /// The UTF-8 of the character.
  let replacement: [UInt8]
  let prepending: Prepending
  /// Whether a word begins at each of the characters.
  let splits: Bool

  /// Reads a part of type `Metaspace`.
  init(_ part: FieldReader.Part, _ reader: FieldReader) throws(TokenizerError) {
    let text = try reader.string(part.value, "replacement", at: part.path)
    guard text.unicodeScalars.count == 1 else {
      throw reader.failure(
        "\(part.path).replacement", expected: "one character", found: reader.quote(text))
    }
    replacement = Array(text.utf8)
    var prepending = Prepending.always
    if let scheme = part.value["prepend_scheme"] {
      guard let known = scheme.string.flatMap(Prepending.init) else {
        throw reader.failure(
          "\(part.path).prepend_scheme", expected: "\"always\", \"first\" or \"never\"",
          found: reader.show(scheme))
      }
      prepending = known
    }
    self.prepending = prepending
    splits = try reader.boolean(part.value, "split", at: part.path, default: true)
    // Files of older versions have this setting beside or instead of the scheme.
    let adds = try reader.boolean(part.value, "add_prefix_space", at: part.path, default: true)
    if !adds, prepending != .never {
      throw reader.failure(
        "\(part.path).prepend_scheme", expected: "\"never\" beside add_prefix_space false",
        found: reader.show(part.value["prepend_scheme"]))
    }
  }

  /// A text with the character for each space, and before the text where the scheme says so.
  func marked(_ text: ArraySlice<UInt8>, isAtStart: Bool) -> [UInt8] {
    let marked = NormalizerStep.replacing(
      [UInt8(ascii: " ")], by: replacement, in: Array(text))
    switch prepending {
    case .never: return marked
    case .first where !isAtStart: return marked
    case .first, .always: return marked.starts(with: replacement) ? marked : replacement + marked
    }
  }

  /// Where words begin inside of a marked text.
  func cuts(in marked: [UInt8]) -> [Int] {
    guard splits, let first = replacement.first else { return [] }
    return marked.indices.dropFirst().filter { index in
      marked[index] == first && marked[index...].starts(with: replacement)
    }
  }

  /// A token with spaces for the character, or nothing in the first token if a scheme put it there.
  func decoded(_ token: [UInt8], isFirst: Bool) -> [UInt8] {
    let space = isFirst && prepending != .never ? [] : [UInt8(ascii: " ")]
    return NormalizerStep.replacing(replacement, by: space, in: token)
  }
}
