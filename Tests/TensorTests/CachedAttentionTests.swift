import Tensor
import Testing

/// One layer's cache of one sequence, filled from rows of rotated queries, keys and values.
private final class Cache {
  private let keys: Operand
  private let values: Operand
  private let capacity: Int
  private let count: Int

  init(_ fused: Table, rows: Range<Int>, heads: AttentionHeads, spare: Int) {
    capacity = rows.count + spare
    count = rows.count
    let size = heads.size
    // Places that are not filled hold a number that would be seen.
    var keyTable = Table(rows: heads.keyValueCount * capacity, columns: size).filled(55)
    var valueTable = keyTable
    for head in 0..<heads.keyValueCount {
      for (position, row) in rows.enumerated() {
        for index in 0..<size {
          let key = (heads.queryCount + head) * size + index
          keyTable[head * capacity + position, index] = fused[row, key]
          valueTable[head * capacity + position, index] =
            fused[row, key + heads.keyValueCount * size]
        }
      }
    }
    keys = Operand(keyTable)
    values = Operand(valueTable)
  }

  var part: CachedKeys {
    CachedKeys(keys: keys.base, values: values.base, capacity: capacity, count: count)
  }
}

@Suite struct CachedAttentionTests {
  /// The newest row of a sequence sees its prompt's cache and its own: brute force over all rows.
  @Test(arguments: Setting.all, [nil, 1, 6, 40])
  func newestRowIsTheBruteForce(_ setting: Setting, window: Int?) {
    let compute = setting.compute()
    for heads in [
      AttentionHeads(queryCount: 1, keyValueCount: 1, size: 4),
      AttentionHeads(queryCount: 4, keyValueCount: 2, size: 6),
      AttentionHeads(queryCount: 6, keyValueCount: 2, size: 64),
    ] {
      let lengths = [(1, 1), (1, 7), (8, 1), (9, 8), (63, 2), (64, 65), (100, 33)]
      var newest = Table(rows: lengths.count, columns: heads.fusedColumns)
      var expected = Table(rows: lengths.count, columns: heads.queryCount * heads.size)
      var prompts: [Cache] = []
      var own: [Cache] = []
      for (row, (promptCount, ownCount)) in lengths.enumerated() {
        let count = promptCount + ownCount
        let fused = Table(rows: count, columns: heads.fusedColumns, seed: UInt64(80 + row))
        prompts.append(Cache(fused, rows: 0..<promptCount, heads: heads, spare: row % 3))
        own.append(Cache(fused, rows: promptCount..<count, heads: heads, spare: row % 2))
        let family = AttentionFamily(segments: [AttentionSegment(rows: 0..<count)])
        let all = Reference.attention(fused, heads: heads, families: [family], window: window)
          .output
        for column in 0..<fused.columns { newest[row, column] = fused[count - 1, column] }
        for column in 0..<all.columns { expected[row, column] = all[count - 1, column] }
      }
      let operand = Operand(newest)
      let output = Operand(rows: lengths.count, columns: expected.columns)
      compute.cachedAttention(
        operand.matrix, heads: heads, shared: prompts.map(\.part), own: own.map(\.part),
        window: window, into: output.matrix)
      expectClose(output, expected, tolerance: 2e-6)

      // A row alone gives the bits that it gives among others.
      let bits = output.bits
      for row in lengths.indices {
        let alone = Operand(rows: 1, columns: expected.columns)
        compute.cachedAttention(
          operand.matrix.rows(row..<row + 1), heads: heads, shared: [prompts[row].part],
          own: [own[row].part], window: window, into: alone.matrix)
        expectEqual(
          alone.bits, Array(bits[row * expected.columns..<(row + 1) * expected.columns]))
      }
      withExtendedLifetime((prompts, own)) {}
    }
  }
}
