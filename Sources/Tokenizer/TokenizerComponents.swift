import JSONText

/// What a tokenizer.json says besides its vocabulary: the steps around the merging.
struct TokenizerComponents: Sendable {
  /// What text goes through first.
  let normalizer: [NormalizerStep]
  /// How text is cut into words.
  let words: WordCutter
  /// Ids that the post-processor puts before and after a text.
  let prefix: [Int32]
  let suffix: [Int32]
  /// How tokens become text.
  let decoder: [DecoderStep]

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
    normalizer = try NormalizerStep.read(root["normalizer"], reader)
    words = try WordCutter(root["pre_tokenizer"], reader)
    (prefix, suffix) = try TokenizerComponents.readPostProcessor(root["post_processor"], reader)
    decoder = try DecoderStep.read(root["decoder"], reader)
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
