/// A token that is found in the text itself, before words are made.
struct AddedToken: Sendable {
  let id: Int32
  let content: String
  /// Left out when special tokens are skipped in decoding.
  let isSpecial: Bool
  /// Matched in normalized text (and its content normalized), not in the text as given.
  let isNormalized: Bool
  /// Matched only where no word character stands beside it.
  let isSingleWord: Bool
  /// Takes the white space before and after it along.
  let stripsLeft: Bool
  let stripsRight: Bool
}

/// A piece of text: an added token, or text between them.
struct TextPiece {
  let token: Int32?
  let range: Range<Int>
}

/// Finds added tokens in text: leftmost first, the longest of those that start there.
struct AddedTokenMatcher: Sendable {
  private var tokens: [AddedToken] = []
  /// The trie's edges, from node and byte to node; node 0 is the root.
  private var edges: [UInt64: Int] = [:]
  /// The index of the token that ends at a node, -1 where none does.
  private var ends: [Int] = [-1]
  private var isFirstByte = [Bool](repeating: false, count: 256)

  /// Enters a token under the bytes that text is compared with.
  ///
  /// - Parameters:
  ///   - token: the token.
  ///   - pattern: its content, normalized if the token is; not empty.
  /// - Returns: false, and nothing entered, if the pattern is another token's already.
  mutating func insert(_ token: AddedToken, pattern: [UInt8]) -> Bool {
    var node = 0
    for byte in pattern {
      let key = UInt64(node) << 8 | UInt64(byte)
      if let child = edges[key] {
        node = child
      } else {
        edges[key] = ends.count
        node = ends.count
        ends.append(-1)
      }
    }
    guard let first = pattern.first, ends[node] < 0 else { return false }
    isFirstByte[Int(first)] = true
    ends[node] = tokens.count
    tokens.append(token)
    return true
  }

  /// Cuts a text at the added tokens in it.
  ///
  /// As Hugging Face does it: white space that a token strips belongs to the token's piece, and the
  /// search goes on after the token itself, so pieces can overlap where two tokens strip the same.
  func pieces(of bytes: [UInt8]) -> [TextPiece] {
    guard !tokens.isEmpty else { return [TextPiece(token: nil, range: 0..<bytes.count)] }
    var pieces: [TextPiece] = []
    var textStart = 0
    var position = 0
    var strippedEnd = 0
    while position < bytes.count {
      guard isFirstByte[Int(bytes[position])], let match = longestMatch(in: bytes, at: position)
      else {
        position += 1
        continue
      }
      position = match.range.upperBound
      let token = tokens[match.index]
      if token.isSingleWord, touchesWord(match.range, in: bytes) { continue }
      var (start, end) = (match.range.lowerBound, match.range.upperBound)
      if token.stripsLeft { start = whitespaceStart(in: bytes, before: start, downTo: textStart) }
      if token.stripsRight {
        // Inside white space that was stripped before, its end is known.
        if end > strippedEnd { strippedEnd = whitespaceEnd(in: bytes, from: end) }
        end = strippedEnd
      }
      if textStart < start { pieces.append(TextPiece(token: nil, range: textStart..<start)) }
      pieces.append(TextPiece(token: token.id, range: start..<max(start, end)))
      textStart = end
    }
    if textStart < bytes.count {
      pieces.append(TextPiece(token: nil, range: textStart..<bytes.count))
    }
    return pieces
  }

  private func longestMatch(in bytes: [UInt8], at start: Int) -> (index: Int, range: Range<Int>)? {
    var node = 0
    var index = start
    var longest: (index: Int, range: Range<Int>)?
    while index < bytes.count, let child = edges[UInt64(node) << 8 | UInt64(bytes[index])] {
      node = child
      index += 1
      if ends[node] >= 0 { longest = (ends[node], start..<index) }
    }
    return longest
  }

  private func touchesWord(_ range: Range<Int>, in bytes: [UInt8]) -> Bool {
    if range.lowerBound > 0,
      CharacterClass.isWordCharacter(decodeScalar(bytes, before: range.lowerBound).value)
    {
      return true
    }
    return range.upperBound < bytes.count
      && CharacterClass.isWordCharacter(decodeScalar(bytes, at: range.upperBound).value)
  }

  private func whitespaceStart(in bytes: [UInt8], before end: Int, downTo limit: Int) -> Int {
    var start = max(end, limit)
    while start > limit {
      let scalar = decodeScalar(bytes, before: start)
      guard CharacterClass.isWhitespace(scalar.value) else { break }
      start = scalar.start
    }
    return start
  }

  private func whitespaceEnd(in bytes: [UInt8], from start: Int) -> Int {
    var end = start
    while end < bytes.count {
      let scalar = decodeScalar(bytes, at: end)
      guard CharacterClass.isWhitespace(scalar.value) else { break }
      end += scalar.length
    }
    return end
  }
}
