import JSONText

/// A step from tokens to text.
enum DecoderStep: Sendable {
  /// Tokens in the byte alphabet become one text.
  case byteLevel
  /// Tokens `<0x00>` … `<0xFF>` become the characters whose UTF-8 they are.
  case byteFallback
  /// All tokens become one.
  case fuse
  case replace([UInt8], by: [UInt8])
  /// Up to so many of a character are taken from the beginning of each token.
  case strip([UInt8], atMost: Int)
  case metaspace(Metaspace)

  /// The text of tokens after all of the steps.
  ///
  /// - Parameters:
  ///   - tokens: the tokens' bytes, each valid UTF-8.
  ///   - steps: the steps in order.
  /// - Returns: the text.
  static func text(of tokens: [[UInt8]], by steps: [DecoderStep]) -> String {
    var parts = tokens
    for step in steps { parts = step.apply(parts) }
    return String(decoding: parts.joined(), as: UTF8.self)
  }

  private func apply(_ tokens: [[UInt8]]) -> [[UInt8]] {
    switch self {
    case .byteLevel:
      var bytes: [UInt8] = []
      for token in tokens { bytes += ByteAlphabet.standard.bytes(of: token) }
      // Each maximal part of an invalid sequence is one U+FFFD.
      return [Array(String(decoding: bytes, as: UTF8.self).utf8)]
    case .byteFallback: return DecoderStep.joiningBytes(tokens)
    case .fuse: return [Array(tokens.joined())]
    case .replace(let part, let other):
      return tokens.map { NormalizerStep.replacing(part, by: other, in: $0) }
    case .strip(let character, let most):
      return tokens.map { token in
        var rest = token[...]
        var count = 0
        while count < most, rest.starts(with: character) {
          rest = rest.dropFirst(character.count)
          count += 1
        }
        return Array(rest)
      }
    case .metaspace(let metaspace):
      return tokens.enumerated().map { metaspace.decoded($1, isFirst: $0 == 0) }
    }
  }

  /// Tokens with runs of byte tokens joined; a run that is not UTF-8 is a U+FFFD for each byte.
  private static func joiningBytes(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var joined: [[UInt8]] = []
    var run: [UInt8] = []
    func endRun() {
      if run.isEmpty { return }
      let isText = String(validating: run, as: UTF8.self) != nil
      joined += isText ? [run] : run.map { _ in [0xEF, 0xBF, 0xBD] }
      run = []
    }
    for token in tokens {
      if let byte = byte(of: token) {
        run.append(byte)
      } else {
        endRun()
        joined.append(token)
      }
    }
    endRun()
    return joined
  }

  /// The byte that a token such as `<0x0A>` stands for; digits of any case, a plus before one digit.
  private static func byte(of token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">"),
      token[3] != UInt8(ascii: "-")
    else { return nil }
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }
}

// Reading.
extension DecoderStep {
  private static let supported =
    "ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, Sequence of them"

  /// The steps of a tokenizer.json's `decoder`.
  static func read(_ value: JSON?, _ reader: FieldReader) throws(TokenizerError) -> [DecoderStep] {
    let parts = try reader.parts(value, list: "decoders", at: "decoder")
    guard !parts.isEmpty else {
      throw reader.notImplemented("decoder", "no decoder", supported: supported)
    }
    var steps: [DecoderStep] = []
    for part in parts {
      switch part.type {
      case "ByteLevel": steps.append(.byteLevel)
      case "ByteFallback": steps.append(.byteFallback)
      case "Fuse": steps.append(.fuse)
      case "Metaspace": steps.append(.metaspace(try Metaspace(part, reader)))
      case "Replace":
        let (pattern, content) = try reader.replacement(part)
        steps.append(.replace(pattern, by: content))
      case "Strip": steps.append(try strip(part, reader))
      default:
        throw reader.notImplemented(
          part.path, "type \(reader.quote(part.type))", supported: supported)
      }
    }
    return steps
  }

  private static func strip(_ part: FieldReader.Part, _ reader: FieldReader)
    throws(TokenizerError) -> DecoderStep
  {
    let content = try reader.string(part.value, "content", at: part.path)
    guard content.unicodeScalars.count == 1 else {
      throw reader.failure(
        "\(part.path).content", expected: "one character", found: reader.quote(content))
    }
    guard let start = part.value["start"]?.integer, start >= 0 else {
      throw reader.failure(
        "\(part.path).start", expected: "a count", found: reader.show(part.value["start"]))
    }
    guard part.value["stop"]?.integer == 0 else {
      throw reader.notImplemented(
        "\(part.path).stop", reader.show(part.value["stop"]), supported: "0")
    }
    return .strip(Array(content.utf8), atMost: start)
  }
}
