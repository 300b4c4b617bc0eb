import Checkpoint

/// A row as the token cache keeps it.
struct TokenRecord: Equatable {
  /// The prompt.
  var prompt: [Int32]
  /// The preferred response or the completion; empty where there is none.
  var chosen: [Int32] = []
  /// The other response; empty where there is none.
  var rejected: [Int32] = []
  /// The prompt as the model reads it, for oracles and samples.
  var promptText: String
  /// The preferred response or completion without a template's marks.
  var chosenText = ""
  /// By how much the rewards should differ, where the data says so (`margin`).
  var margin: Double?

  /// The row's pair.
  var pair: TokenPair {
    TokenPair(prompt: prompt, chosen: chosen, rejected: rejected, margin: margin)
  }

  /// The row's prompt and completion.
  var completion: TokenCompletion { TokenCompletion(prompt: prompt, completion: chosen) }
}

// Little-endian: five counts (u32: three of tokens, two of text bytes), whether there is a margin
// (u32), the margin's bits (two u32, the low one first), the tokens (u32), the texts.
extension TokenRecord {
  /// The record's bytes.
  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(
      32 + 4 * (prompt.count + chosen.count + rejected.count) + promptText.utf8.count
        + chosenText.utf8.count)
    func append(_ value: UInt32) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
    for count in [prompt.count, chosen.count, rejected.count] { append(UInt32(count)) }
    for text in [promptText, chosenText] { append(UInt32(text.utf8.count)) }
    append(margin == nil ? 0 : 1)
    let bits = margin?.bitPattern ?? 0
    append(UInt32(truncatingIfNeeded: bits))
    append(UInt32(truncatingIfNeeded: bits >> 32))
    for tokens in [prompt, chosen, rejected] {
      for token in tokens { append(UInt32(bitPattern: token)) }
    }
    bytes += promptText.utf8
    bytes += chosenText.utf8
    return bytes
  }

  /// The record of some bytes, nil if they are none.
  init?(_ bytes: [UInt8]) {
    var fields = ByteFields(bytes)
    var numbers: [Int] = []
    for _ in 0..<8 {
      guard let number = fields.integer(byteCount: 4) else { return nil }
      numbers.append(number)
    }
    func tokens(_ count: Int) -> [Int32]? {
      guard let bytes = fields.bytes(count: 4 * count) else { return nil }
      return bytes.withUnsafeBytes { raw in
        (0..<count).map {
          Int32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
        }
      }
    }
    func text(_ count: Int) -> String? {
      fields.bytes(count: count).flatMap { String(validating: $0, as: UTF8.self) }
    }
    guard let prompt = tokens(numbers[0]), let chosen = tokens(numbers[1]),
      let rejected = tokens(numbers[2]), let promptText = text(numbers[3]),
      let chosenText = text(numbers[4]), fields.isAtEnd
    else { return nil }
    self.init(
      prompt: prompt, chosen: chosen, rejected: rejected, promptText: promptText,
      chosenText: chosenText)
    if numbers[5] == 1 {
      margin = Double(bitPattern: UInt64(numbers[7]) << 32 | UInt64(numbers[6]))
    }
  }
}
