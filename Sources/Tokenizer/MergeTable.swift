/// What pairs of neighbouring tokens become, by open addressing.
struct MergeTable: Sendable {
  /// What a pair of tokens becomes, and how early.
  struct Merge: Sendable {
    let rank: Int32
    let id: Int32
  }

  private struct Slot {
    let pair: UInt64
    let merge: Merge
  }

  /// Ids are not negative, so no pair has this key.
  private static let empty = Slot(pair: .max, merge: Merge(rank: 0, id: 0))
  private var slots = [Slot](repeating: empty, count: 16)
  private var count = 0

  /// Makes room for merges.
  mutating func reserve(_ mergeCount: Int) {
    while slots.count < 2 * mergeCount { grow() }
  }

  /// Records a merge; a pair given twice keeps the later rank.
  mutating func insert(left: Int32, right: Int32, rank: Int32, id: Int32) {
    if 2 * count >= slots.count { grow() }
    let pair = pairKey(left, right)
    let slot = slot(of: pair)
    if slots[slot].pair != pair { count += 1 }
    slots[slot] = Slot(pair: pair, merge: Merge(rank: rank, id: id))
  }

  /// What two neighbours become, nil if they stay apart.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> Merge? {
    let pair = pairKey(left, right)
    let slot = slots[slot(of: pair)]
    return slot.pair == pair ? slot.merge : nil
  }

  /// The slot that a pair has, or the empty one that it would get.
  @inline(__always)
  private func slot(of pair: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: mixed(pair)) & (slots.count - 1)
    while slots[slot].pair != pair, slots[slot].pair != .max {
      slot = (slot + 1) & (slots.count - 1)
    }
    return slot
  }

  private mutating func grow() {
    let old = slots
    slots = [Slot](repeating: MergeTable.empty, count: 2 * old.count)
    for entry in old where entry.pair != .max { slots[slot(of: entry.pair)] = entry }
  }
}

/// Two ids as one key, ordered by the left id, then the right.
@inline(__always)
func pairKey(_ left: Int32, _ right: Int32) -> UInt64 {
  UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
}

/// A key's bits, mixed so that any of them make a slot's number.
@inline(__always)
func mixed(_ key: UInt64) -> UInt64 {
  let product = (key ^ key >> 29) &* 0x9E37_79B9_7F4A_7C15
  return product ^ product >> 32
}
