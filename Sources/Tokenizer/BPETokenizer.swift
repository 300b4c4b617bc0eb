import JSONText

/// Byte-level byte pair encoding as a Hugging Face `tokenizer.json` describes it.
///
/// Implemented is what the Qwen2 family uses (and GPT-2's and Llama 3's patterns); ids and decoded
/// text equal those of Hugging Face tokenizers 0.23 for text of characters up to Unicode 15.
/// Everything else in a file is refused by name. Format: the `tokenizers` crate's serialization.
public struct BPETokenizer: Sendable {
  private let vocabulary: Vocabulary
  private let components: TokenizerComponents
  private let alphabet = ByteAlphabet()

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
    vocabulary = try Vocabulary(
      tokenizerJSON, components: components, alphabet: alphabet, reader: reader)
  }

  /// The largest id plus one, added tokens included.
  public var vocabularySize: Int { Int(vocabulary.largestID) + 1 }

  /// The id of a token, compared by bytes; nil if there is no such token.
  ///
  /// - Parameter token: an added token's content, or a token in the byte alphabet's spelling.
  /// - Returns: the id.
  public func id(of token: String) -> Int32? { vocabulary.ids[UTF8Bytes(token)] }

  /// The token of an id, in the file's spelling; nil if there is no such id.
  public func token(of id: Int32) -> String? { vocabulary.tokens[id] }

  /// The ids of a text.
  ///
  /// - Parameters:
  ///   - text: any text; added tokens in it are recognized.
  ///   - addSpecialTokens: whether the post-processor's template is applied.
  /// - Returns: the ids; bytes that the vocabulary lacks are left out, as Hugging Face does.
  public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int32] {
    var ids: [Int32] = addSpecialTokens ? components.prefix : []
    var merger = PairMerger()
    let bytes = Array(text.utf8)
    for piece in vocabulary.addedTokens.pieces(of: bytes) {
      if let token = piece.token {
        ids.append(token)
      } else {
        encode(between: Array(bytes[piece.range]), &merger, into: &ids)
      }
    }
    return addSpecialTokens ? ids + components.suffix : ids
  }

  /// Encodes text without added tokens of the kind that is found before normalization.
  private func encode(between given: [UInt8], _ merger: inout PairMerger, into ids: inout [Int32]) {
    let bytes = (components.composes ? Normalization.composed(given) : nil) ?? given
    for piece in vocabulary.normalizedAddedTokens.pieces(of: bytes) {
      if let token = piece.token {
        ids.append(token)
        continue
      }
      var start = piece.range.lowerBound
      while start < piece.range.upperBound {
        let end = components.pattern.wordEnd(in: bytes, from: start, to: piece.range.upperBound)
        encode(word: bytes[start..<end], &merger, into: &ids)
        start = end
      }
    }
  }

  private func encode(
    word: ArraySlice<UInt8>, _ merger: inout PairMerger, into ids: inout [Int32]
  ) {
    if vocabulary.ignoresMerges, let id = vocabulary.ids[UTF8Bytes(alphabet.spell(word))] {
      ids.append(id)
      return
    }
    var symbols: [Int32] = []
    symbols.reserveCapacity(word.count)
    for byte in word where vocabulary.byteIDs[Int(byte)] >= 0 {
      symbols.append(vocabulary.byteIDs[Int(byte)])
    }
    merger.merge(symbols, vocabulary.merges, into: &ids)
  }

  /// The text of ids.
  ///
  /// - Parameters:
  ///   - ids: any ids; those the tokenizer lacks stand for nothing.
  ///   - skipSpecialTokens: whether special added tokens are left out.
  /// - Returns: the text, each maximal part of an invalid UTF-8 sequence as one U+FFFD.
  public func decode(_ ids: [Int32], skipSpecialTokens: Bool = true) -> String {
    var bytes: [UInt8] = []
    for id in ids {
      if skipSpecialTokens, vocabulary.skippedIDs.contains(id) { continue }
      guard let token = vocabulary.decodedForms[id] ?? vocabulary.tokens[id] else { continue }
      bytes += alphabet.bytes(of: token)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
