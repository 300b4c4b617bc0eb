import JSONText

/// What a tokenizer.json says besides its vocabulary: the steps around the merging.
struct TokenizerComponents: Sendable {
  /// Whether text is brought to Unicode normalization form C.
  let composes: Bool
  /// How text is cut into words.
  let pattern: SplitPattern
  /// Ids that the post-processor puts before and after a text.
  let prefix: [Int32]
  let suffix: [Int32]

  /// Reads the components and refuses by name what is not implemented.
  init(_ root: JSON, reader: FieldReader) throws(TokenizerError) {
    if let version = root["version"], version.string != "1.0" {
      throw reader.failure("version", expected: "\"1.0\"", found: reader.show(version))
    }
    for key in ["truncation", "padding"] {
      if let value = root[key], !value.isNull {
        throw reader.notImplemented(key, "a \(key) setting", supported: "null")
      }
    }
    composes = try TokenizerComponents.readNormalizer(root["normalizer"], reader)
    pattern = try TokenizerComponents.readPreTokenizer(root["pre_tokenizer"], reader)
    (prefix, suffix) = try TokenizerComponents.readPostProcessor(root["post_processor"], reader)
    try TokenizerComponents.checkDecoder(root["decoder"], reader)
  }

  private static func readNormalizer(_ value: JSON?, _ reader: FieldReader)
    throws(TokenizerError) -> Bool
  {
    let parts = try reader.parts(value, list: "normalizers", at: "normalizer")
    for part in parts where part.type != "NFC" {
      throw reader.notImplemented(
        part.path, "type \(reader.quote(part.type))", supported: "NFC, Sequence of NFC, null")
    }
    return !parts.isEmpty
  }

  private static func readPreTokenizer(_ value: JSON?, _ reader: FieldReader)
    throws(TokenizerError) -> SplitPattern
  {
    let supported = "ByteLevel, or Sequence of Split (the Qwen2 pattern) and ByteLevel"
    let parts = try reader.parts(value, list: "pretokenizers", at: "pre_tokenizer")
    for part in parts where part.type != "Split" && part.type != "ByteLevel" {
      throw reader.notImplemented(
        part.path, "type \(reader.quote(part.type))", supported: supported)
    }
    let types = parts.map(\.type)
    guard let byteLevel = parts.last, types == ["ByteLevel"] || types == ["Split", "ByteLevel"]
    else {
      let found = types.isEmpty ? "nothing" : types.joined(separator: ", ")
      throw reader.notImplemented(
        "pre_tokenizer", "a pre-tokenizer of \(found)", supported: supported)
    }
    if try reader.boolean(byteLevel.value, "add_prefix_space", at: byteLevel.path) {
      throw reader.notImplemented(
        "\(byteLevel.path).add_prefix_space", "true", supported: "false")
    }
    let usesExpression = try reader.boolean(
      byteLevel.value, "use_regex", at: byteLevel.path, default: true)
    guard types.count == 2 else { return usesExpression ? .gpt2 : .whole }
    if usesExpression {
      throw reader.notImplemented(
        "\(byteLevel.path).use_regex", "true after a Split", supported: "false")
    }
    return try readSplit(parts[0], reader)
  }

  private static func readSplit(_ part: FieldReader.Part, _ reader: FieldReader)
    throws(TokenizerError) -> SplitPattern
  {
    let behavior = try reader.string(part.value, "behavior", at: part.path)
    guard behavior == "Isolated" else {
      throw reader.notImplemented(
        "\(part.path).behavior", reader.quote(behavior), supported: "\"Isolated\"")
    }
    if try reader.boolean(part.value, "invert", at: part.path) {
      throw reader.notImplemented("\(part.path).invert", "true", supported: "false")
    }
    guard let expression = part.value["pattern"]?["Regex"]?.string else {
      throw reader.failure(
        "\(part.path).pattern", expected: "{\"Regex\": …}",
        found: reader.show(part.value["pattern"]))
    }
    if UTF8Bytes(expression) == UTF8Bytes(SplitPattern.qwen2Expression) {
      return .qwen2(digits: 1)
    }
    if UTF8Bytes(expression) == UTF8Bytes(SplitPattern.llama3Expression) {
      return .qwen2(digits: 3)
    }
    throw reader.notImplemented(
      "\(part.path).pattern.Regex", "the expression \(reader.quote(expression))",
      supported: "Qwen2's and Llama 3's, to the letter")
  }

  private static func checkDecoder(_ value: JSON?, _ reader: FieldReader) throws(TokenizerError) {
    let parts = try reader.parts(value, list: "decoders", at: "decoder")
    guard parts.count == 1, parts[0].type == "ByteLevel" else {
      let other = parts.first { $0.type != "ByteLevel" }
      let what = parts.isEmpty ? "no decoder" : other.map { "type \(reader.quote($0.type))" }
      throw reader.notImplemented(
        other?.path ?? "decoder", what ?? "more than one decoder", supported: "ByteLevel")
    }
  }
}

// The post-processor: ids before and after a text.
extension TokenizerComponents {
  private static func readPostProcessor(_ value: JSON?, _ reader: FieldReader)
    throws(TokenizerError) -> (prefix: [Int32], suffix: [Int32])
  {
    let parts = try reader.parts(value, list: "processors", at: "post_processor")
    var template: FieldReader.Part?
    for part in parts {
      switch part.type {
      case "ByteLevel": break  // It changes offsets only.
      case "TemplateProcessing" where template == nil: template = part
      case "TemplateProcessing":
        throw reader.notImplemented(
          part.path, "a second TemplateProcessing", supported: "one TemplateProcessing")
      default:
        throw reader.notImplemented(
          part.path, "type \(reader.quote(part.type))",
          supported: "ByteLevel, TemplateProcessing, Sequence of them, null")
      }
    }
    guard let template else { return ([], []) }
    return try readTemplate(template, reader)
  }

  private static func readTemplate(_ template: FieldReader.Part, _ reader: FieldReader)
    throws(TokenizerError) -> (prefix: [Int32], suffix: [Int32])
  {
    var sides: [[Int32]] = [[]]
    let path = "\(template.path).single"
    for (index, piece) in try reader.elements(template.value, "single", at: template.path)
      .enumerated()
    {
      if let token = piece["SpecialToken"]?["id"]?.string {
        let ids = try specialIDs(of: token, template, reader)
        sides[sides.count - 1] += ids
      } else if piece["Sequence"]?["id"]?.string == "A", sides.count == 1 {
        sides.append([])
      } else {
        throw reader.notImplemented(
          "\(path)[\(index)]", "this piece of a template",
          supported: "SpecialToken, and Sequence A once")
      }
    }
    guard sides.count == 2 else {
      throw reader.failure(path, expected: "one Sequence with id \"A\"", found: "none")
    }
    return (sides[0], sides[1])
  }

  private static func specialIDs(
    of token: String, _ template: FieldReader.Part, _ reader: FieldReader
  ) throws(TokenizerError) -> [Int32] {
    guard let entry = template.value["special_tokens"]?[token] else {
      throw reader.failure(
        "\(template.path).special_tokens", expected: "an entry for \(reader.quote(token))",
        found: "none")
    }
    let path = "\(template.path).special_tokens[\(reader.quote(token))]"
    var ids: [Int32] = []
    for (index, id) in try reader.elements(entry, "ids", at: path).enumerated() {
      ids.append(try reader.id(id, at: "\(path).ids[\(index)]"))
    }
    return ids
  }
}
