import JSONText

/// How text between added tokens is cut into words: what tokenizer.json calls the pre-tokenizer.
struct WordCutter: Sendable {
  /// One step, applied to every word that the steps before made.
  private enum Step {
    /// A cut by a regular expression.
    case split(SplitPattern)
    /// A space before a word that has none.
    case prefixSpace
    case metaspace(Metaspace)
  }

  private let steps: [Step]
  /// Whether words are spelled in the byte alphabet.
  let isByteLevel: Bool

  /// Cuts a text and calls a function for each word.
  ///
  /// - Parameters:
  ///   - bytes: valid UTF-8.
  ///   - text: the part of it to cut.
  ///   - isAtStart: whether it is where the whole text begins.
  ///   - body: takes bytes and the word in them.
  func forEachWord(
    in bytes: [UInt8], _ text: Range<Int>, isAtStart: Bool,
    _ body: (_ bytes: [UInt8], _ word: Range<Int>) -> Void
  ) {
    cut(bytes, text, isAtStart: isAtStart, steps[...], body)
  }

  private func cut(
    _ bytes: [UInt8], _ text: Range<Int>, isAtStart: Bool, _ steps: ArraySlice<Step>,
    _ body: (_ bytes: [UInt8], _ word: Range<Int>) -> Void
  ) {
    guard !text.isEmpty else { return }
    guard let step = steps.first else { return body(bytes, text) }
    let rest = steps.dropFirst()
    switch step {
    case .split(let pattern):
      var start = text.lowerBound
      while start < text.upperBound {
        let end = pattern.wordEnd(in: bytes, from: start, to: text.upperBound)
        if rest.isEmpty {
          body(bytes, start..<end)
        } else {
          cut(bytes, start..<end, isAtStart: isAtStart && start == text.lowerBound, rest, body)
        }
        start = end
      }
    case .prefixSpace:
      let space = UInt8(ascii: " ")
      if bytes[text.lowerBound] == space {
        return cut(bytes, text, isAtStart: isAtStart, rest, body)
      }
      let spaced = [space] + bytes[text]
      cut(spaced, 0..<spaced.count, isAtStart: isAtStart, rest, body)
    case .metaspace(let metaspace):
      let marked = metaspace.marked(bytes[text], isAtStart: isAtStart)
      var start = 0
      for end in metaspace.cuts(in: marked) + [marked.count] {
        cut(marked, start..<end, isAtStart: isAtStart && start == 0, rest, body)
        start = end
      }
    }
  }
}

// Reading.
extension WordCutter {
  private static let supported =
    "Split (the patterns of Qwen2, Llama 3 and GPT-2), ByteLevel as the last, Metaspace, Sequence"
    + " of them, null"

  /// The steps of a tokenizer.json's `pre_tokenizer`.
  init(_ value: JSON?, _ reader: FieldReader) throws(TokenizerError) {
    let parts = try reader.parts(value, list: "pretokenizers", at: "pre_tokenizer")
    var steps: [Step] = []
    var isByteLevel = false
    for part in parts {
      if isByteLevel {
        throw reader.notImplemented(
          part.path, "type \(reader.quote(part.type)) after ByteLevel",
          supported: WordCutter.supported)
      }
      switch part.type {
      case "Split": steps.append(.split(try WordCutter.pattern(part, reader)))
      case "Metaspace": steps.append(.metaspace(try Metaspace(part, reader)))
      case "ByteLevel":
        isByteLevel = true
        if try reader.boolean(part.value, "add_prefix_space", at: part.path) {
          steps.append(.prefixSpace)
        }
        if try reader.boolean(part.value, "use_regex", at: part.path, default: true) {
          steps.append(.split(.gpt2))
        }
      default:
        throw reader.notImplemented(
          part.path, "type \(reader.quote(part.type))", supported: WordCutter.supported)
      }
    }
    self.steps = steps
    self.isByteLevel = isByteLevel
  }

  private static func pattern(_ part: FieldReader.Part, _ reader: FieldReader)
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
    guard let pattern = SplitPattern(expression: expression) else {
      throw reader.notImplemented(
        "\(part.path).pattern.Regex", "the expression \(reader.quote(expression))",
        supported: "Qwen2's, Llama 3's and GPT-2's, to the letter")
    }
    return pattern
  }
}
