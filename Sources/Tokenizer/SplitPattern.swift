/// How text is cut into words before merging: hand-written matchers of known regular expressions.
///
/// Every pattern matches at every position, so words are consecutive and nothing is left out.
enum SplitPattern: Sendable {
  /// The Qwen2 family's pattern; Llama 3's is the same with up to three digits a word.
  case qwen2(digits: Int)
  /// GPT-2's pattern, which `ByteLevel` applies with `use_regex`.
  case gpt2
  /// The pattern in Qwen1.5, Qwen2 and Qwen2.5's tokenizer.json.
  static let qwen2Expression = expression(numbers: #"\p{N}"#)
  /// The pattern in Llama 3's tokenizer.json.
  static let llama3Expression = expression(numbers: #"\p{N}{1,3}"#)
  /// GPT-2's pattern where a file writes it out.
  static let gpt2Expression =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// The pattern that an expression in a tokenizer.json is, nil if it is another.
  init?(expression: String) {
    switch UTF8Bytes(expression) {
    case UTF8Bytes(SplitPattern.qwen2Expression): self = .qwen2(digits: 1)
    case UTF8Bytes(SplitPattern.llama3Expression): self = .qwen2(digits: 3)
    case UTF8Bytes(SplitPattern.gpt2Expression): self = .gpt2
    default: return nil
    }
  }

  private static func expression(numbers: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + numbers
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The end of the word that starts at an index.
  ///
  /// - Parameters:
  ///   - bytes: valid UTF-8.
  ///   - start: the index of a scalar's first byte, less than `limit`.
  ///   - limit: where the text ends for this purpose, a scalar's boundary.
  /// - Returns: an index above `start`, at most `limit`.
  func wordEnd(in bytes: [UInt8], from start: Int, to limit: Int) -> Int {
    let scan = Scan(bytes: bytes, limit: limit)
    switch self {
    case .qwen2(let digits): return scan.qwen2WordEnd(from: start, digits: digits)
    case .gpt2: return scan.gpt2WordEnd(from: start)
    }
  }
}

/// A text up to a limit, and the steps the matchers take in it.
private struct Scan {
  let bytes: [UInt8]
  let limit: Int

  /// The class of the character at an index and the index after it; nil at the limit.
  @inline(__always)
  func character(at index: Int) -> (kind: CharacterClass, end: Int)? {
    guard index < limit else { return nil }
    let (value, length) = decodeScalar(bytes, at: index)
    return (CharacterClass(value), index + length)
  }

  /// The end of the run of characters of one class, at most `most` of them.
  func runEnd(of kind: CharacterClass, from start: Int, atMost most: Int = .max) -> Int {
    var index = start
    var count = 0
    while count < most, let next = character(at: index), next.kind == kind {
      index = next.end
      count += 1
    }
    return index
  }

  func qwen2WordEnd(from start: Int, digits: Int) -> Int {
    guard let first = character(at: start) else { return limit }
    if let end = contractionEnd(from: start, ignoringCase: true) { return end }
    switch first.kind {
    case .letter: return runEnd(of: .letter, from: first.end)
    case .number: return runEnd(of: .number, from: start, atMost: digits)
    case .lineBreak: return whitespaceEnd(from: start, stoppingAfterLineBreaks: true)
    case .space, .other: break
    }
    // One character that is neither letter, number nor line break may lead a run of letters; of
    // the others only U+0020 may lead a run of symbols, and line breaks follow that run.
    let next = character(at: first.end)
    if next?.kind == .letter { return runEnd(of: .letter, from: first.end) }
    if first.kind == .other || (bytes[start] == UInt8(ascii: " ") && next?.kind == .other) {
      return runEnd(of: .lineBreak, from: runEnd(of: .other, from: first.end))
    }
    return whitespaceEnd(from: start, stoppingAfterLineBreaks: true)
  }

  func gpt2WordEnd(from start: Int) -> Int {
    guard let first = character(at: start) else { return limit }
    if let end = contractionEnd(from: start, ignoringCase: false) { return end }
    switch first.kind {
    case .letter, .number, .other: return runEnd(of: first.kind, from: first.end)
    case .space, .lineBreak: break
    }
    if bytes[start] == UInt8(ascii: " "), let next = character(at: first.end) {
      switch next.kind {
      case .letter, .number, .other: return runEnd(of: next.kind, from: next.end)
      case .space, .lineBreak: break
      }
    }
    return whitespaceEnd(from: start, stoppingAfterLineBreaks: false)
  }

  /// `\s*[\r\n]+|\s+(?!\S)|\s+`, or the last two of them.
  ///
  /// Up to the run's last line break if it has one; all of a run that ends the text; else all but
  /// the last character, which leads the next word, unless it is the only one.
  private func whitespaceEnd(from start: Int, stoppingAfterLineBreaks: Bool) -> Int {
    var index = start
    var lastStart = start
    var lineBreakEnd = start
    while let next = character(at: index), next.kind == .space || next.kind == .lineBreak {
      lastStart = index
      index = next.end
      if next.kind == .lineBreak { lineBreakEnd = index }
    }
    if stoppingAfterLineBreaks, lineBreakEnd > start { return lineBreakEnd }
    return index == limit || lastStart == start ? index : lastStart
  }

  /// The end of `'s|'t|'re|'ve|'m|'ll|'d`; without case, U+017F (long s) is an s.
  private func contractionEnd(from start: Int, ignoringCase: Bool) -> Int? {
    guard bytes[start] == UInt8(ascii: "'"), start + 1 < limit else { return nil }
    func letter(_ offset: Int) -> UInt8 {
      guard start + offset < limit else { return 0 }
      let byte = bytes[start + offset]
      return ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
    }
    switch (letter(1), letter(2)) {
    case (UInt8(ascii: "s"), _), (UInt8(ascii: "t"), _), (UInt8(ascii: "m"), _),
      (UInt8(ascii: "d"), _):
      return start + 2
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
      (UInt8(ascii: "l"), UInt8(ascii: "l")):
      return start + 3
    case (0xC5, 0xBF): return ignoringCase ? start + 3 : nil
    default: return nil
    }
  }
}
