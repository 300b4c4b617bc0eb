/// Tokens and their ids, both ways; tokens compare by bytes.
///
/// All bytes lie in one array, found by open addressing: a vocabulary of 150 000 tokens is read in
/// milliseconds.
struct TokenTable: Sendable {
  private struct Entry {
    let start: Int
    let count: Int
    let id: Int32
  }

  private var bytes: [UInt8] = []
  private var entries: [Entry] = []
  /// The number of an entry plus one, 0 where there is none; a power of two of them.
  private var slots: [Int32] = [Int32](repeating: 0, count: 16)
  private var entryOfID: [Int32: Int32] = [:]

  /// How many tokens there are.
  var count: Int { entries.count }

  /// The largest id, -1 if there is none.
  private(set) var largestID: Int32 = -1

  /// Makes room for tokens.
  mutating func reserve(_ tokenCount: Int) {
    entries.reserveCapacity(tokenCount)
    entryOfID.reserveCapacity(tokenCount)
    bytes.reserveCapacity(8 * tokenCount)
    while slots.count < 2 * tokenCount { grow() }
  }

  /// Enters a token.
  ///
  /// - Returns: the id that the token has, or the token that the id has, if there is one already;
  ///   then nothing is entered.
  mutating func insert(_ token: some Collection<UInt8>, id: Int32) -> Conflict? {
    if let other = entryOfID[id] { return .id(Array(self.token(Int(other)))) }
    if 2 * entries.count >= slots.count { grow() }
    var slot = TokenTable.hash(token) & (slots.count - 1)
    while slots[slot] != 0 {
      if self.token(Int(slots[slot]) - 1).elementsEqual(token) { return .token }
      slot = (slot + 1) & (slots.count - 1)
    }
    let start = bytes.count
    bytes.append(contentsOf: token)
    entries.append(Entry(start: start, count: bytes.count - start, id: id))
    // An id is below 2³¹ and stands for one entry, so their number is too.
    slots[slot] = Int32(truncatingIfNeeded: entries.count)
    entryOfID[id] = Int32(truncatingIfNeeded: entries.count - 1)
    largestID = max(largestID, id)
    return nil
  }

  enum Conflict {
    /// The token is there, with another id.
    case token
    /// The id is there, with this token.
    case id([UInt8])
  }

  /// The id of a token, nil if there is none.
  func id(of token: some Collection<UInt8>) -> Int32? {
    var slot = TokenTable.hash(token) & (slots.count - 1)
    while slots[slot] != 0 {
      let entry = Int(slots[slot]) - 1
      if entries[entry].count == token.count, self.token(entry).elementsEqual(token) {
        return entries[entry].id
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }

  /// The bytes of the token of an id, nil if there is none.
  func token(of id: Int32) -> ArraySlice<UInt8>? { entryOfID[id].map { token(Int($0)) } }

  private func token(_ entry: Int) -> ArraySlice<UInt8> {
    bytes[entries[entry].start..<entries[entry].start + entries[entry].count]
  }

  private mutating func grow() {
    slots = [Int32](repeating: 0, count: 2 * slots.count)
    for entry in entries.indices {
      var slot = TokenTable.hash(token(entry)) & (slots.count - 1)
      while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
      slots[slot] = Int32(truncatingIfNeeded: entry + 1)
    }
  }

  /// FNV-1a, its high bits folded in.
  private static func hash(_ token: some Collection<UInt8>) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in token { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return Int(truncatingIfNeeded: hash ^ hash >> 32)
  }
}
