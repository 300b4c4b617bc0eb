/// Merges the symbols of one word, lowest rank first, leftmost first among equals.
///
/// The word is cut where no merge reaches across; pieces seen before are looked up, short ones
/// scanned, long ones merged by a linked list and a heap: n log n for n symbols. Holds memory for
/// the next word.
struct PairMerger {
  private struct Candidate: Comparable, Sendable {
    let rank: Int32
    let id: Int32
    let position: Int

    static func < (left: Candidate, right: Candidate) -> Bool {
      left.rank != right.rank ? left.rank < right.rank : left.position < right.position
    }
  }

  private let table: MergeTable
  private let joins: JoinTable
  private var cache: MergeCache
  /// The piece's tokens; -1 where one was merged into its left neighbour.
  private var ids: [Int32] = []
  private var ranks: [Int32] = []
  private var previous: [Int] = []
  private var next: [Int] = []
  private var candidates = Heap<Candidate>()

  /// A merger for a text.
  ///
  /// - Parameters:
  ///   - table: the merges.
  ///   - joins: where they can reach across.
  ///   - byteCount: the size of the text, which says how much is remembered.
  init(_ table: MergeTable, _ joins: JoinTable, byteCount: Int) {
    self.table = table
    self.joins = joins
    cache = MergeCache(byteCount: byteCount)
  }

  /// Merges a word and appends its tokens.
  ///
  /// - Parameters:
  ///   - word: the ids of the word's symbols.
  ///   - output: where the tokens go.
  mutating func merge(_ word: [Int32], into output: inout [Int32]) {
    var start = 0
    for end in word.indices.dropFirst() where !joins.contains(word[end - 1], word[end]) {
      merge(word, start..<end, into: &output)
      start = end
    }
    merge(word, start..<word.count, into: &output)
  }

  private mutating func merge(_ word: [Int32], _ piece: Range<Int>, into output: inout [Int32]) {
    switch piece.count {
    case ...1: output += word[piece]
    case ...MergeCache.longest:
      if cache.append(word, piece, to: &output) { return }
      ids.removeAll(keepingCapacity: true)
      ids += word[piece]
      mergeShort()
      cache.remember(word, piece, ids)
      output += ids
    default:
      ids.removeAll(keepingCapacity: true)
      ids += word[piece]
      mergeLong()
      for id in ids where id >= 0 { output.append(id) }
    }
  }

  /// Merges a few symbols by looking for the lowest rank each time.
  private mutating func mergeShort() {
    func rank(_ left: Int) -> Int32 { table.merge(ids[left], ids[left + 1])?.rank ?? .max }
    ranks.removeAll(keepingCapacity: true)
    for left in 0..<ids.count - 1 { ranks.append(rank(left)) }
    while true {
      var best = 0
      for left in ranks.indices where ranks[left] < ranks[best] { best = left }
      guard best < ranks.count, ranks[best] < .max,
        let merge = table.merge(ids[best], ids[best + 1])
      else { return }
      ids[best] = merge.id
      ids.remove(at: best + 1)
      ranks.remove(at: best)
      if best > 0 { ranks[best - 1] = rank(best - 1) }
      if best < ranks.count { ranks[best] = rank(best) }
    }
  }

  private mutating func mergeLong() {
    previous.removeAll(keepingCapacity: true)
    next.removeAll(keepingCapacity: true)
    candidates.removeAll()
    for position in ids.indices {
      previous.append(position - 1)
      next.append(position + 1)
    }
    for position in ids.indices { propose(position) }
    while let candidate = candidates.popLeast() { apply(candidate) }
  }

  /// Enters the pair that starts at a position, if it can be merged.
  private mutating func propose(_ position: Int) {
    guard next[position] < ids.count else { return }
    guard let merge = table.merge(ids[position], ids[next[position]]) else { return }
    candidates.insert(Candidate(rank: merge.rank, id: merge.id, position: position))
  }

  /// Merges a pair, unless one of its sides has changed since it was entered.
  private mutating func apply(_ candidate: Candidate) {
    let left = candidate.position
    let right = next[left]
    guard ids[left] >= 0, right < ids.count,
      table.merge(ids[left], ids[right])?.id == candidate.id
    else { return }
    ids[left] = candidate.id
    ids[right] = -1
    next[left] = next[right]
    if next[left] < ids.count { previous[next[left]] = left }
    if previous[left] >= 0 { propose(previous[left]) }
    propose(left)
  }
}

/// What short pieces became: one place for each hash, the latest piece in it.
private struct MergeCache {
  /// The most symbols of a piece that is remembered.
  static let longest = 32

  private struct Slot {
    var start = 0
    var symbolCount: Int32 = 0
    var tokenCount: Int32 = 0
  }

  private var slots: [Slot]
  /// Symbols and tokens of the pieces, one piece after the other.
  private var pool: [Int32] = []

  init(byteCount: Int) {
    var count = 16
    while count < 1 << 15, 4 * count < byteCount { count *= 2 }
    slots = [Slot](repeating: Slot(), count: count)
  }

  private func slot(_ word: [Int32], _ piece: Range<Int>) -> Int {
    var hash: UInt64 = 0
    for index in piece {
      hash = (hash ^ UInt64(UInt32(bitPattern: word[index]))) &* 0x9E37_79B9_7F4A_7C15
      hash ^= hash >> 29
    }
    return Int(truncatingIfNeeded: hash >> 16) & (slots.count - 1)
  }

  /// Appends a piece's tokens; false if the piece is not known.
  func append(_ word: [Int32], _ piece: Range<Int>, to output: inout [Int32]) -> Bool {
    let slot = slots[slot(word, piece)]
    guard Int(slot.symbolCount) == piece.count else { return false }
    let tokens = slot.start + piece.count
    for index in piece where pool[slot.start + index - piece.lowerBound] != word[index] {
      return false
    }
    output += pool[tokens..<tokens + Int(slot.tokenCount)]
    return true
  }

  mutating func remember(_ word: [Int32], _ piece: Range<Int>, _ tokens: [Int32]) {
    if pool.count > 1 << 22 {
      pool.removeAll(keepingCapacity: true)
      for index in slots.indices { slots[index] = Slot() }
    }
    slots[slot(word, piece)] = Slot(
      start: pool.count, symbolCount: Int32(piece.count), tokenCount: Int32(tokens.count))
    pool += word[piece]
    pool += tokens
  }
}
