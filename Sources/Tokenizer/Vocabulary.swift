import JSONText

/// Tokens and ids, merges, and added tokens: the tables of a tokenizer.json.
struct Vocabulary: Sendable {
  /// All tokens, added ones included.
  private(set) var tokens = TokenTable()
  /// What pairs of tokens become.
  private(set) var merges = MergeTable()
  /// Where merges can reach across.
  let joins: JoinTable
  /// What merging begins with.
  let symbols: SymbolTable
  private let isByteLevel: Bool
  /// Whether a word that is a token stays whole.
  let ignoresMerges: Bool
  /// The model's tokens, without added ones.
  let modelTokens: TokenTable
  /// Tokens found in the text as given, and those found after normalization.
  private(set) var addedTokens = AddedTokenMatcher()
  private(set) var normalizedAddedTokens = AddedTokenMatcher()
  /// Tokens that decoding spells otherwise than their content: normalized added tokens.
  private(set) var decodedForms: [Int32: [UInt8]] = [:]
  /// Ids left out in decoding when special tokens are skipped.
  private(set) var skippedIDs: Set<Int32> = []

  init(_ root: JSON, components: TokenizerComponents, reader: FieldReader) throws(TokenizerError) {
    guard let model = root["model"] else {
      throw reader.failure("model", expected: "an object with a \"type\"", found: "nothing")
    }
    try Vocabulary.checkModel(model, reader)
    ignoresMerges = try reader.boolean(model, "ignore_merges", at: "model", default: false)
    isByteLevel = components.words.isByteLevel
    let tokens = try Vocabulary.readTokens(model, reader)
    self.tokens = tokens
    modelTokens = tokens
    let merges = try Vocabulary.readMerges(model, tokens, reader)
    symbols = try Vocabulary.readSymbols(
      model, tokens, isByteLevel: isByteLevel, reader)
    joins = JoinTable(merges, tokens, longSymbols: symbols.longSymbols)
    self.merges.reserve(merges.count)
    for (rank, merge) in merges.enumerated() {
      self.merges.insert(
        left: merge.left, right: merge.right, rank: Int32(rank), id: merge.id)
    }
    try readAddedTokens(root, components: components, reader)
    for id in components.prefix + components.suffix where self.tokens.token(of: id) == nil {
      throw reader.failure(
        "post_processor", expected: "ids of the vocabulary", found: "the id \(id)")
    }
  }

  /// The id of a word that is a token of the model, nil if it is none.
  func wholeWord(_ word: ArraySlice<UInt8>) -> Int32? {
    isByteLevel ? modelTokens.id(of: ByteAlphabet.standard.spell(word)) : modelTokens.id(of: word)
  }

  /// Refuses models and settings that are not implemented.
  private static func checkModel(_ model: JSON, _ reader: FieldReader) throws(TokenizerError) {
    // Old files have no type; what has merges is BPE.
    let hasType = model["type"] != nil || model["merges"] == nil
    let type = hasType ? try reader.type(of: model, at: "model") : "BPE"
    guard type == "BPE" else {
      throw reader.notImplemented("model", "type \(reader.quote(type))", supported: "BPE")
    }
    if let value = model["dropout"], !value.isNull, value.number != 0 {
      throw reader.notImplemented("model.dropout", reader.show(value), supported: "null")
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let value = model[key], !value.isNull, value.string?.utf8.isEmpty != true {
        throw reader.notImplemented("model.\(key)", reader.show(value), supported: "null, \"\"")
      }
    }
  }

  private static func readTokens(_ model: JSON, _ reader: FieldReader) throws(TokenizerError)
    -> TokenTable
  {
    guard let members = model["vocab"]?.members else {
      throw reader.failure(
        "model.vocab", expected: "an object of tokens and ids", found: reader.show(model["vocab"]))
    }
    var tokens = TokenTable()
    tokens.reserve(members.count)
    for member in members {
      func path() -> String { "model.vocab[\(reader.quote(member.key))]" }
      let id = try reader.id(member.value, at: path())
      try enter(member.key, as: id, into: &tokens, at: path(), reader)
    }
    return tokens
  }

  /// Enters a token under an id that no other has.
  private static func enter(
    _ token: String, as id: Int32, into tokens: inout TokenTable,
    at path: @autoclosure () -> String,
    _ reader: FieldReader
  ) throws(TokenizerError) {
    switch tokens.insert(token.utf8, id: id) {
    case nil: break
    case .token: throw reader.failure(path(), expected: "each token once", found: "it twice")
    case .id(let other):
      let text = reader.quote(String(decoding: other, as: UTF8.self))
      throw reader.failure(
        path(), expected: "an id of its own", found: "\(id), the id of \(text) too")
    }
  }

  /// The symbols that merging begins with.
  private static func readSymbols(
    _ model: JSON, _ tokens: TokenTable, isByteLevel: Bool, _ reader: FieldReader
  ) throws(TokenizerError) -> SymbolTable {
    let unknown = model["unk_token"].flatMap { $0.isNull ? nil : $0 }
    guard unknown == nil || unknown?.string != nil else {
      throw reader.failure(
        "model.unk_token", expected: "a token or null", found: reader.show(unknown))
    }
    let unknownID = unknown?.string.flatMap { tokens.id(of: $0.utf8) }
    let symbols = SymbolTable(
      tokens, isByteLevel: isByteLevel,
      hasFallback: try reader.boolean(model, "byte_fallback", at: "model", default: false),
      unknown: unknownID,
      fusesUnknown: try reader.boolean(model, "fuse_unk", at: "model", default: false))
    // Some files name a token that is never needed, so it need not be there.
    guard unknown == nil || unknownID != nil || symbols.isComplete else {
      throw reader.failure(
        "model.unk_token", expected: "a token of model.vocab", found: reader.show(unknown))
    }
    return symbols
  }
}

// Merges.
extension Vocabulary {
  private typealias IDs = (left: Int32, right: Int32, id: Int32)

  private static func readMerges(_ model: JSON, _ tokens: TokenTable, _ reader: FieldReader)
    throws(TokenizerError) -> [(left: Int32, right: Int32, id: Int32)]
  {
    let entries = try reader.elements(model, "merges", at: "model")
    guard Int32(exactly: entries.count) != nil else {
      throw reader.failure(
        "model.merges", expected: "at most \(Int32.max) merges", found: "\(entries.count)")
    }
    let isListOfTexts = entries.first?.string != nil
    var merges: [IDs] = []
    merges.reserveCapacity(entries.count)
    for (index, entry) in entries.enumerated() {
      // A file's first line may have come along; Hugging Face passes over such lines.
      if isListOfTexts, entry.string?.utf8.starts(with: "#version".utf8) == true { continue }
      let pair = isListOfTexts ? entry.string.flatMap(splitMerge) : pairOfTexts(entry)
      guard let pair else {
        throw reader.failure(
          "model.merges[\(index)]",
          expected: isListOfTexts ? "\"left right\"" : "[\"left\", \"right\"]",
          found: reader.show(entry), advice: "all merges must have one form")
      }
      func id(_ token: [UInt8]) throws(TokenizerError) -> Int32 {
        guard !token.isEmpty, let id = tokens.id(of: token) else {
          let text = reader.quote(String(decoding: token, as: UTF8.self))
          throw reader.failure(
            "model.merges[\(index)]", expected: "tokens of model.vocab",
            found: "\(text), which it lacks")
        }
        return id
      }
      merges.append((try id(pair.left), try id(pair.right), try id(pair.left + pair.right)))
    }
    return merges
  }

  private static func splitMerge(_ text: String) -> (left: [UInt8], right: [UInt8])? {
    let bytes = Array(text.utf8)
    let space = UInt8(ascii: " ")
    guard let cut = bytes.firstIndex(of: space), !bytes[(cut + 1)...].contains(space) else {
      return nil
    }
    return (Array(bytes[..<cut]), Array(bytes[(cut + 1)...]))
  }

  private static func pairOfTexts(_ entry: JSON) -> (left: [UInt8], right: [UInt8])? {
    guard let elements = entry.elements, elements.count == 2, let left = elements[0].string,
      let right = elements[1].string
    else { return nil }
    return (Array(left.utf8), Array(right.utf8))
  }
}

// Added tokens.
extension Vocabulary {
  private mutating func readAddedTokens(
    _ root: JSON, components: TokenizerComponents, _ reader: FieldReader
  ) throws(TokenizerError) {
    guard root["added_tokens"] != nil else { return }
    var nextID = tokens.count
    var added: [AddedToken] = []
    var contents: Set<UTF8Bytes> = []
    for (index, value) in try reader.elements(root, "added_tokens", at: "tokenizer").enumerated() {
      let path = "added_tokens[\(index)]"
      let token = try Vocabulary.addedToken(value, at: path, reader)
      let known = tokens.id(of: token.content.utf8)
      guard !token.content.utf8.isEmpty, contents.insert(UTF8Bytes(token.content)).inserted else {
        throw reader.failure(
          "\(path).content", expected: "text, each once", found: reader.quote(token.content))
      }
      // Hugging Face numbers added tokens anew, whatever the file says: in the vocabulary, its id
      // there; else one after the other from the vocabulary's count on.
      guard Int(token.id) == known.map({ Int($0) }) ?? nextID else {
        throw reader.failure(
          "\(path).id", expected: "\(known.map { Int($0) } ?? nextID)", found: "\(token.id)",
          advice: "save the tokenizer again, so that added tokens follow the vocabulary in order")
      }
      if known == nil {
        nextID += 1
        try Vocabulary.enter(token.content, as: token.id, into: &tokens, at: path, reader)
      }
      added.append(token)
    }
    try match(added, normalizer: components.normalizer, reader)
  }

  /// Makes added tokens matchable and settles how they decode.
  private mutating func match(
    _ added: [AddedToken], normalizer: [NormalizerStep], _ reader: FieldReader
  ) throws(TokenizerError) {
    let specials = Set(added.filter(\.isSpecial).map { UTF8Bytes($0.content) })
    for token in added {
      let content = Array(token.content.utf8)
      let form = UTF8Bytes(
        token.isNormalized ? NormalizerStep.normalize(content, by: normalizer) : content)
      let isNew =
        token.isNormalized
        ? normalizedAddedTokens.insert(token, pattern: form.bytes)
        : addedTokens.insert(token, pattern: form.bytes)
      guard isNew else {
        throw reader.failure(
          "added_tokens", expected: "contents that differ after normalization",
          found: "\(reader.quote(token.content)) twice")
      }
      decodedForms[token.id] = form.bytes
      if specials.contains(form) { skippedIDs.insert(token.id) }
    }
  }

  private static func addedToken(_ value: JSON, at path: String, _ reader: FieldReader)
    throws(TokenizerError) -> AddedToken
  {
    guard value.members != nil else {
      throw reader.failure(path, expected: "an object", found: reader.show(value))
    }
    return AddedToken(
      id: try reader.id(value["id"], at: "\(path).id"),
      content: try reader.string(value, "content", at: path),
      isSpecial: try reader.boolean(value, "special", at: path),
      isNormalized: try reader.boolean(value, "normalized", at: path),
      isSingleWord: try reader.boolean(value, "single_word", at: path),
      stripsLeft: try reader.boolean(value, "lstrip", at: path),
      stripsRight: try reader.boolean(value, "rstrip", at: path))
  }
}
