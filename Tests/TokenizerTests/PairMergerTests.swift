import Testing

@testable import Tokenizer

@Suite struct PairMergerTests {
  /// The definition: the lowest rank anywhere, leftmost, until there is none.
  private func mergedByDefinition(_ word: [Int32], _ table: MergeTable) -> [Int32] {
    var word = word
    while true {
      var best: (index: Int, merge: MergeTable.Merge)?
      for index in word.indices.dropLast() {
        guard let merge = table.merge(word[index], word[index + 1]) else { continue }
        if merge.rank < best?.merge.rank ?? .max { best = (index, merge) }
      }
      guard let best else { return word }
      word.replaceSubrange(best.index...best.index + 1, with: [best.merge.id])
    }
  }

  @Test func heapEqualsDefinition() {
    var state: UInt64 = 7
    func draw(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    for _ in 0..<60 {
      // Tokens are strings over a, b, c, so that an id stands for one string only.
      var strings = ["a", "b", "c"]
      var table = MergeTable()
      var merges: [(left: Int32, right: Int32, id: Int32)] = []
      for rank in 0..<30 {
        let (left, right) = (draw(strings.count), draw(strings.count))
        let joined = strings[left] + strings[right]
        let known = strings.firstIndex(of: joined)
        if known == nil { strings.append(joined) }
        let id = known ?? strings.count - 1
        merges.append((Int32(left), Int32(right), Int32(id)))
        table.insert(left: Int32(left), right: Int32(right), rank: Int32(rank), id: Int32(id))
      }
      var tokens = TokenTable()
      for (id, string) in strings.enumerated() {
        #expect(tokens.insert(string.utf8, id: Int32(id)) == nil)
      }
      let joins = JoinTable(merges, tokens, longSymbols: [])
      var merger = PairMerger(table, joins, byteCount: 1000)
      for length in [0, 1, 30, 31, 32, 33, 34, 60, 90] + Array(0..<24) + Array(0..<24) {
        let word = (0..<length).map { _ in Int32(draw(3)) }
        var merged: [Int32] = []
        merger.merge(word, into: &merged)
        #expect(merged == mergedByDefinition(word, table))
      }
    }
  }
}
