/// Which neighbouring symbols can come to stand inside of one token.
///
/// Where two cannot, no merge reaches across, so a text may be cut there: it keeps the text of a
/// SentencePiece vocabulary, which has no words, from being one word of megabytes.
struct JoinTable: Sendable {
  /// One bit a pair, by its hash: a bit set for another pair only makes a cut less.
  private var bits = [UInt64](repeating: 0, count: 1 << 14)

  /// A table for merges.
  ///
  /// A merge joins the last symbol of its left token with the first of its right one: the ids of
  /// the character there, and of each long symbol whose spelling stands there.
  ///
  /// - Parameters:
  ///   - merges: all merges.
  ///   - tokens: the vocabulary.
  ///   - longSymbols: the symbols whose spelling is not one character.
  init(
    _ merges: [(left: Int32, right: Int32, id: Int32)], _ tokens: TokenTable, longSymbols: [Int32]
  ) {
    var long: [(id: Int32, spelling: ArraySlice<UInt8>)] = []
    var beginsLong = [Bool](repeating: false, count: 256)
    var endsLong = beginsLong
    for id in longSymbols {
      guard let spelling = tokens.token(of: id), let first = spelling.first,
        let last = spelling.last
      else { continue }
      beginsLong[Int(first)] = true
      endsLong[Int(last)] = true
      long.append((id, spelling))
    }
    for merge in merges {
      guard let left = tokens.token(of: merge.left), let right = tokens.token(of: merge.right),
        let last = left.last, let first = right.first
      else { continue }
      let lastStart = left.lastIndex { $0 & 0xC0 != 0x80 } ?? left.startIndex
      let firstEnd = right.dropFirst().firstIndex { $0 & 0xC0 != 0x80 } ?? right.endIndex
      let end = tokens.id(of: left[lastStart...])
      let start = tokens.id(of: right[..<firstEnd])
      if let end, let start { insert(end, start) }
      guard endsLong[Int(last)] || beginsLong[Int(first)] else { continue }
      let ends =
        [end].compactMap(\.self)
        + long.filter { left.reversed().starts(with: $0.spelling.reversed()) }.map(\.id)
      let starts =
        [start].compactMap(\.self) + long.filter { right.starts(with: $0.spelling) }.map(\.id)
      for end in ends { for start in starts { insert(end, start) } }
    }
  }

  private mutating func insert(_ left: Int32, _ right: Int32) {
    let bit = mixed(pairKey(left, right))
    bits[Int(bit >> 44) >> 6] |= 1 << ((bit >> 44) & 63)
  }

  /// Whether two neighbouring symbols can come to stand in one token.
  @inline(__always)
  func contains(_ left: Int32, _ right: Int32) -> Bool {
    let bit = mixed(pairKey(left, right))
    return bits[Int(bit >> 44) >> 6] >> ((bit >> 44) & 63) & 1 != 0
  }
}
