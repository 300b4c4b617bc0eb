import JSONText

/// Tokens and ids, merges, and added tokens: the tables of a tokenizer.json.
struct Vocabulary: Sendable {
  /// The id of each token, by bytes.
  private(set) var ids: [UTF8Bytes: Int32] = [:]
  /// The token of each id.
  private(set) var tokens: [Int32: String] = [:]
  /// The largest id.
  private(set) var largestID: Int32 = -1
  /// What pairs of tokens become.
  private(set) var merges = MergeTable()
  /// The id of each byte's token, -1 where the vocabulary has none.
  private(set) var byteIDs: [Int32] = []
  /// Whether a word that is a token stays whole.
  let ignoresMerges: Bool
  /// Tokens found in the text as given, and those found after normalization.
  private(set) var addedTokens = AddedTokenMatcher()
  private(set) var normalizedAddedTokens = AddedTokenMatcher()
  /// Tokens that decoding spells otherwise than their content: normalized added tokens.
  private(set) var decodedForms: [Int32: String] = [:]
  /// Ids left out in decoding when special tokens are skipped.
  private(set) var skippedIDs: Set<Int32> = []

  init(
    _ root: JSON, components: TokenizerComponents, alphabet: ByteAlphabet, reader: FieldReader
  ) throws(TokenizerError) {
    guard let model = root["model"] else {
      throw reader.failure("model", expected: "an object with a \"type\"", found: "nothing")
    }
    try Vocabulary.checkModel(model, reader)
    ignoresMerges = try reader.boolean(model, "ignore_merges", at: "model", default: false)
    try readTokens(model, reader)
    try readMerges(model, reader)
    byteIDs = alphabet.scalars.map { ids[UTF8Bytes(String(Character($0)))] ?? -1 }
    try readAddedTokens(root, components: components, reader)
    for id in components.prefix + components.suffix where tokens[id] == nil {
      throw reader.failure(
        "post_processor", expected: "ids of the vocabulary", found: "the id \(id)")
    }
  }

  /// Refuses models and settings other than plain byte-level BPE.
  private static func checkModel(_ model: JSON, _ reader: FieldReader) throws(TokenizerError) {
    // Old files have no type; what has merges is BPE.
    let hasType = model["type"] != nil || model["merges"] == nil
    let type = hasType ? try reader.type(of: model, at: "model") : "BPE"
    guard type == "BPE" else {
      throw reader.notImplemented("model", "type \(reader.quote(type))", supported: "BPE")
    }
    for key in ["unk_token", "dropout"] {
      if let value = model[key], !value.isNull, !(key == "dropout" && value.number == 0) {
        throw reader.notImplemented("model.\(key)", reader.show(value), supported: "null")
      }
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let value = model[key], !value.isNull, value.string?.utf8.isEmpty != true {
        throw reader.notImplemented("model.\(key)", reader.show(value), supported: "null, \"\"")
      }
    }
    if try reader.boolean(model, "byte_fallback", at: "model", default: false) {
      throw reader.notImplemented("model.byte_fallback", "true", supported: "false")
    }
    // Without an unknown token there is nothing to fuse, so either value will do.
    _ = try reader.boolean(model, "fuse_unk", at: "model", default: false)
  }

  private mutating func readTokens(_ model: JSON, _ reader: FieldReader) throws(TokenizerError) {
    guard let members = model["vocab"]?.members else {
      throw reader.failure(
        "model.vocab", expected: "an object of tokens and ids", found: reader.show(model["vocab"]))
    }
    ids.reserveCapacity(members.count)
    tokens.reserveCapacity(members.count)
    for member in members {
      let path = "model.vocab[\(reader.quote(member.key))]"
      try enter(member.key, as: try reader.id(member.value, at: path), at: path, reader)
    }
  }

  /// Enters a token under an id that no other has.
  private mutating func enter(
    _ token: String, as id: Int32, at path: String, _ reader: FieldReader
  ) throws(TokenizerError) {
    if let other = tokens.updateValue(token, forKey: id) {
      throw reader.failure(
        path, expected: "an id of its own", found: "\(id), the id of \(reader.quote(other)) too")
    }
    if ids.updateValue(id, forKey: UTF8Bytes(token)) != nil {
      throw reader.failure(path, expected: "each token once", found: "it twice")
    }
    largestID = max(largestID, id)
  }
}

// Merges.
extension Vocabulary {
  private mutating func readMerges(_ model: JSON, _ reader: FieldReader) throws(TokenizerError) {
    let entries = try reader.elements(model, "merges", at: "model")
    let isListOfTexts = entries.first?.string != nil
    for (index, entry) in entries.enumerated() {
      let path = "model.merges[\(index)]"
      let pair: (left: [UInt8], right: [UInt8])?
      if isListOfTexts {
        // A file's first line may have come along; Hugging Face passes over such lines.
        if entry.string?.utf8.starts(with: "#version".utf8) == true { continue }
        pair = entry.string.flatMap(Vocabulary.splitMerge)
      } else {
        pair = Vocabulary.pairOfTexts(entry)
      }
      guard let pair else {
        throw reader.failure(
          path, expected: isListOfTexts ? "\"left right\"" : "[\"left\", \"right\"]",
          found: reader.show(entry), advice: "all merges must have one form")
      }
      guard let rank = Int32(exactly: index) else {
        throw reader.failure(path, expected: "at most \(Int32.max) merges", found: "more")
      }
      merges.insert(
        left: try mergedID(pair.left, at: path, reader),
        right: try mergedID(pair.right, at: path, reader), rank: rank,
        id: try mergedID(pair.left + pair.right, at: path, reader))
    }
  }

  private func mergedID(_ token: [UInt8], at path: String, _ reader: FieldReader)
    throws(TokenizerError) -> Int32
  {
    guard !token.isEmpty, let id = ids[UTF8Bytes(token)] else {
      let text = reader.quote(String(decoding: token, as: UTF8.self))
      throw reader.failure(
        path, expected: "tokens of model.vocab", found: "\(text), which it lacks")
    }
    return id
  }

  private static func splitMerge(_ text: String) -> (left: [UInt8], right: [UInt8])? {
    let parts = text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    return parts.count == 2 ? (Array(parts[0]), Array(parts[1])) : nil
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
      let known = ids[UTF8Bytes(token.content)]
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
        try enter(token.content, as: token.id, at: path, reader)
      }
      added.append(token)
    }
    try match(added, composes: components.composes, reader)
  }

  /// Makes added tokens matchable and settles how they decode.
  private mutating func match(_ added: [AddedToken], composes: Bool, _ reader: FieldReader)
    throws(TokenizerError)
  {
    let specials = Set(added.filter(\.isSpecial).map { UTF8Bytes($0.content) })
    for token in added {
      let content = Array(token.content.utf8)
      let composed = token.isNormalized && composes ? Normalization.composed(content) : nil
      let form = UTF8Bytes(composed ?? content)
      let isNew =
        token.isNormalized
        ? normalizedAddedTokens.insert(token, pattern: form.bytes)
        : addedTokens.insert(token, pattern: form.bytes)
      guard isNew else {
        throw reader.failure(
          "added_tokens", expected: "contents that differ after normalization",
          found: "\(reader.quote(token.content)) twice")
      }
      decodedForms[token.id] = String(decoding: form.bytes, as: UTF8.self)
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
