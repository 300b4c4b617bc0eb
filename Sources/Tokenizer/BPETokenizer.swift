import JSONText

/// Byte pair encoding as a Hugging Face `tokenizer.json` describes it.
///
/// Implemented are byte-level vocabularies (Qwen's, Llama 3's, GPT-2's) and SentencePiece's (Llama
/// 2's, Mistral's, Phi-3's); ids and decoded text equal those of Hugging Face tokenizers 0.23 for
/// text of characters up to Unicode 15. Everything else in a file is refused by name. Format: the
/// `tokenizers` crate's serialization.
public struct BPETokenizer: Sendable {
  private let vocabulary: Vocabulary
  private let components: TokenizerComponents

  /// Reads a tokenizer from the value of a `tokenizer.json`.
  ///
  /// - Parameters:
  ///   - tokenizerJSON: the file's value.
  ///   - source: the file's name, for messages.
  /// - Throws: `TokenizerError` naming the place, what was expected and what was found.
  public init(tokenizerJSON: JSON, source: String) throws(TokenizerError) {
    let reader = FieldReader(source: source)
    guard tokenizerJSON.members != nil else {
      throw TokenizerError(
        description: "\(source): expected a JSON object, found \(tokenizerJSON.kind);"
          + " give a Hugging Face tokenizer.json")
    }
    components = try TokenizerComponents(tokenizerJSON, reader: reader)
    vocabulary = try Vocabulary(tokenizerJSON, components: components, reader: reader)
  }

  /// The largest id plus one, added tokens included.
  public var vocabularySize: Int { Int(vocabulary.tokens.largestID) + 1 }

  /// The id of a token, compared by bytes; nil if there is no such token.
  ///
  /// - Parameter token: an added token's content, or a token in the vocabulary's spelling.
  /// - Returns: the id.
  public func id(of token: String) -> Int32? { vocabulary.tokens.id(of: token.utf8) }

  /// The token of an id, in the file's spelling; nil if there is no such id.
  public func token(of id: Int32) -> String? {
    vocabulary.tokens.token(of: id).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The ids of a text.
  ///
  /// - Parameters:
  ///   - text: any text; added tokens in it are recognized.
  ///   - addSpecialTokens: whether the post-processor's template is applied.
  /// - Returns: the ids; characters without a token are the unknown token, or left out if there is
  ///   none, as Hugging Face does.
  public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int32] {
    var ids: [Int32] = addSpecialTokens ? components.prefix : []
    let bytes = Array(text.utf8)
    var merger = PairMerger(vocabulary.merges, vocabulary.joins, byteCount: bytes.count)
    var symbols: [Int32] = []
    for piece in vocabulary.addedTokens.pieces(of: bytes) {
      if let token = piece.token {
        ids.append(token)
        continue
      }
      let given = piece.range.count == bytes.count ? bytes : Array(bytes[piece.range])
      let normalized = NormalizerStep.normalize(given, by: components.normalizer)
      for part in vocabulary.normalizedAddedTokens.pieces(of: normalized) {
        if let token = part.token {
          ids.append(token)
          continue
        }
        let isAtStart = piece.range.lowerBound == 0 && part.range.lowerBound == 0
        components.words.forEachWord(in: normalized, part.range, isAtStart: isAtStart) {
          encode(word: $1, of: $0, &symbols, &merger, into: &ids)
        }
      }
    }
    return addSpecialTokens ? ids + components.suffix : ids
  }

  /// The ids of a prompt: with the post-processor's tokens, but those at the beginning not put twice where
  /// the text begins with them, as a chat template's text does.
  ///
  /// - Parameter text: any text.
  /// - Returns: the ids.
  public func encodePrompt(_ text: String) -> [Int32] {
    let ids = encode(text, addSpecialTokens: false)
    return (ids.starts(with: components.prefix) ? [] : components.prefix) + ids + components.suffix
  }

  private func encode(
    word: Range<Int>, of bytes: [UInt8], _ symbols: inout [Int32], _ merger: inout PairMerger,
    into ids: inout [Int32]
  ) {
    if vocabulary.ignoresMerges, let id = vocabulary.wholeWord(bytes[word]) {
      ids.append(id)
      return
    }
    vocabulary.symbols.symbols(of: bytes, word, into: &symbols)
    merger.merge(symbols, into: &ids)
  }

  /// The text of ids.
  ///
  /// - Parameters:
  ///   - ids: any ids; those the tokenizer lacks stand for nothing.
  ///   - skipSpecialTokens: whether special added tokens are left out.
  /// - Returns: the text, each maximal part of an invalid UTF-8 sequence as one U+FFFD.
  public func decode(_ ids: [Int32], skipSpecialTokens: Bool = true) -> String {
    var tokens: [[UInt8]] = []
    tokens.reserveCapacity(ids.count)
    for id in ids {
      if skipSpecialTokens, vocabulary.skippedIDs.contains(id) { continue }
      guard
        let token = vocabulary.decodedForms[id] ?? vocabulary.tokens.token(of: id).map(Array.init)
      else { continue }
      tokens.append(token)
    }
    return DecoderStep.text(of: tokens, by: components.decoder)
  }
}
