import JSONText

/// A step that text between added tokens goes through before it is cut into words.
enum NormalizerStep: Sendable {
  /// Unicode normalization form C.
  case composed
  /// Bytes put before a text that is not empty.
  case prepend([UInt8])
  /// All occurrences of bytes, from the left, replaced by others.
  case replace([UInt8], by: [UInt8])

  /// The text after all of the steps.
  static func normalize(_ given: [UInt8], by steps: [NormalizerStep]) -> [UInt8] {
    var bytes = given
    for step in steps {
      switch step {
      case .composed: bytes = Normalization.composed(bytes) ?? bytes
      case .prepend(let prefix): if !bytes.isEmpty { bytes = prefix + bytes }
      case .replace(let part, let other): bytes = replacing(part, by: other, in: bytes)
      }
    }
    return bytes
  }

  /// Bytes with all occurrences of a part, which is not empty, replaced.
  static func replacing(_ part: [UInt8], by other: [UInt8], in bytes: [UInt8]) -> [UInt8] {
    guard let first = part.first, bytes.contains(first) else { return bytes }
    var replaced: [UInt8] = []
    replaced.reserveCapacity(bytes.count + bytes.count / 2)
    var index = 0
    while index < bytes.count {
      if bytes[index] == first, index + part.count <= bytes.count,
        part.count == 1 || bytes[index..<index + part.count].elementsEqual(part)
      {
        replaced += other
        index += part.count
      } else {
        replaced.append(bytes[index])
        index += 1
      }
    }
    return replaced
  }

  /// The steps of a tokenizer.json's `normalizer`.
  static func read(_ value: JSON?, _ reader: FieldReader) throws(TokenizerError)
    -> [NormalizerStep]
  {
    var steps: [NormalizerStep] = []
    for part in try reader.parts(value, list: "normalizers", at: "normalizer") {
      switch part.type {
      case "NFC": steps.append(.composed)
      case "Prepend":
        steps.append(.prepend(Array(try reader.string(part.value, "prepend", at: part.path).utf8)))
      case "Replace":
        let (pattern, content) = try reader.replacement(part)
        steps.append(.replace(pattern, by: content))
      default:
        throw reader.notImplemented(
          part.path, "type \(reader.quote(part.type))",
          supported: "NFC, Prepend, Replace, Sequence of them, null")
      }
    }
    return steps
  }
}

extension FieldReader {
  /// The pattern and the content of a `Replace`, which may be a normalizer or a decoder.
  func replacement(_ part: Part) throws(TokenizerError) -> (pattern: [UInt8], content: [UInt8]) {
    guard let pattern = part.value["pattern"]?["String"]?.string, !pattern.utf8.isEmpty else {
      throw notImplemented(
        "\(part.path).pattern", "a pattern that is no text", supported: "{\"String\": …}, not empty"
      )
    }
    return (Array(pattern.utf8), Array(try string(part.value, "content", at: part.path).utf8))
  }
}
