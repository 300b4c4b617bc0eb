/// Merges of neighbouring tokens, the heart of byte pair encoding.
struct MergeTable: Sendable {
  /// What a pair of tokens becomes, and how early.
  struct Merge: Sendable {
    let rank: Int32
    let id: Int32
  }

  private var merges: [UInt64: Merge] = [:]

  /// Records a merge; a pair given twice keeps the later rank.
  mutating func insert(left: Int32, right: Int32, rank: Int32, id: Int32) {
    merges[pairKey(left, right)] = Merge(rank: rank, id: id)
  }

  /// What two neighbours become, nil if they stay apart.
  func merge(_ left: Int32, _ right: Int32) -> Merge? { merges[pairKey(left, right)] }
}

/// Two ids as one dictionary key, ordered by the left id, then the right.
@inline(__always)
func pairKey(_ left: Int32, _ right: Int32) -> UInt64 {
  UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
}

/// Merges the tokens of one word, lowest rank first, leftmost first among equals.
///
/// A linked list and a heap: n log n for a word of n bytes. Holds memory for the next word.
struct PairMerger {
  private struct Candidate: Comparable, Sendable {
    let rank: Int32
    let id: Int32
    let position: Int

    static func < (left: Candidate, right: Candidate) -> Bool {
      left.rank != right.rank ? left.rank < right.rank : left.position < right.position
    }
  }

  /// The word's tokens; -1 where one was merged into its left neighbour.
  private var ids: [Int32] = []
  private var previous: [Int] = []
  private var next: [Int] = []
  private var candidates = Heap<Candidate>()

  /// Merges a word and appends its tokens.
  ///
  /// - Parameters:
  ///   - word: the ids of the word's bytes.
  ///   - table: the merges.
  ///   - output: where the tokens go.
  mutating func merge(_ word: [Int32], _ table: MergeTable, into output: inout [Int32]) {
    if word.count < 2 {
      output += word
      return
    }
    ids = word
    previous.removeAll(keepingCapacity: true)
    next.removeAll(keepingCapacity: true)
    candidates.removeAll()
    for position in word.indices {
      previous.append(position - 1)
      next.append(position + 1)
    }
    for position in word.indices { propose(position, table) }
    while let candidate = candidates.popLeast() { apply(candidate, table) }
    for id in ids where id >= 0 { output.append(id) }
  }

  /// Enters the pair that starts at a position, if it can be merged.
  private mutating func propose(_ position: Int, _ table: MergeTable) {
    guard next[position] < ids.count else { return }
    guard let merge = table.merge(ids[position], ids[next[position]]) else { return }
    candidates.insert(Candidate(rank: merge.rank, id: merge.id, position: position))
  }

  /// Merges a pair, unless one of its sides has changed since it was entered.
  private mutating func apply(_ candidate: Candidate, _ table: MergeTable) {
    let left = candidate.position
    let right = next[left]
    guard ids[left] >= 0, right < ids.count,
      table.merge(ids[left], ids[right])?.id == candidate.id
    else { return }
    ids[left] = candidate.id
    ids[right] = -1
    next[left] = next[right]
    if next[left] < ids.count { previous[next[left]] = left }
    if previous[left] >= 0 { propose(previous[left], table) }
    propose(left, table)
  }
}
