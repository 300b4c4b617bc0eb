import Tensor
import Testing

/// One layer's cache of one sequence, filled from rows of rotated queries, keys and values but for the
/// last, which the kernel stores.
private final class Cache {
  let keys: Operand
  let values: Operand
  private let capacity: Int
  private let count: Int

  init(
    _ fused: Table, count: Int, heads: AttentionHeads, spare: Int, precision: Precision = .f32
  ) {
    capacity = (count + CachedKeys.multiple - 1) / CachedKeys.multiple * CachedKeys.multiple + spare
    self.count = count
    let size = heads.size
    // Places that are not filled hold a number that would be seen.
    var keyTable = Table(rows: heads.keyValueCount * capacity, columns: size).filled(55)
    var valueTable = keyTable
    for head in 0..<heads.keyValueCount {
      for row in 0..<count - 1 {
        for index in 0..<size {
          let key = (heads.queryCount + head) * size + index
          keyTable[head * capacity + row, index] = fused[row, key]
          valueTable[head * capacity + row, index] = fused[row, key + heads.keyValueCount * size]
        }
      }
    }
    keys = Operand(keyTable, precision)
    values = Operand(valueTable, precision)
  }

  var part: CachedKeys {
    CachedKeys(
      keys: keys.operand.base, values: values.operand.base, capacity: capacity, count: count)
  }
}

@Suite struct CachedAttentionTests {
  private static let heads = [
    AttentionHeads(queryCount: 1, keyValueCount: 1, size: 4),
    AttentionHeads(queryCount: 4, keyValueCount: 2, size: 6),
    AttentionHeads(queryCount: 6, keyValueCount: 2, size: 64),
  ]

  /// The newest row of a sequence sees its cache and itself: brute force over all rows.
  @Test(arguments: Setting.all, [nil, 1, 6, 40])
  func newestRowIsTheBruteForce(_ setting: Setting, window: Int?) {
    let compute = setting.compute()
    for heads in Self.heads {
      let lengths = [2, 8, 9, 17, 65, 129, 133, 1, 64, 128]
      var newest = Table(rows: lengths.count, columns: heads.fusedColumns)
      var expected = Table(rows: lengths.count, columns: heads.queryCount * heads.size)
      var sources: [Table] = []
      for (row, count) in lengths.enumerated() {
        let fused = Table(rows: count, columns: heads.fusedColumns, seed: UInt64(80 + row))
        sources.append(fused)
        let family = AttentionFamily(segments: [AttentionSegment(rows: 0..<count)])
        let all = Reference.attention(fused, heads: heads, families: [family], window: window)
          .output
        for column in 0..<fused.columns { newest[row, column] = fused[count - 1, column] }
        for column in 0..<all.columns { expected[row, column] = all[count - 1, column] }
      }
      func cache(_ row: Int) -> Cache {
        Cache(sources[row], count: lengths[row], heads: heads, spare: row % 3 * 64)
      }
      let caches = lengths.indices.map(cache)
      let operand = Operand(newest)
      let output = Operand(rows: lengths.count, columns: expected.columns)
      compute.cachedAttention(
        operand.operand, heads: heads, caches: caches.map(\.part), window: window,
        into: output.operand)
      expectClose(output, expected, tolerance: 2e-6)

      // A row alone gives the bits that it gives among others, and leaves the same cache behind.
      let bits = output.bits
      for row in lengths.indices {
        let (alone, own) = (Operand(rows: 1, columns: expected.columns), cache(row))
        compute.cachedAttention(
          operand.operand.rows(row..<row + 1), heads: heads, caches: [own.part], window: window,
          into: alone.operand)
        expectEqual(
          alone.bits, Array(bits[row * expected.columns..<(row + 1) * expected.columns]))
        expectEqual(own.keys.bits, caches[row].keys.bits)
        expectEqual(own.values.bits, caches[row].values.bits)
        #expect(own.keys.isGuardIntact && own.values.isGuardIntact)
      }
      withExtendedLifetime(caches) {}
    }
  }

  /// The new token's key and value become the last filled position, and nothing else changes.
  @Test(arguments: Precision.allCases) func newKeysAreStored(_ precision: Precision) {
    let compute = Compute(threadCount: 2)
    let heads = AttentionHeads(queryCount: 4, keyValueCount: 2, size: 6)
    for count in [1, 2, 64, 65] {
      let fused = Table(rows: count, columns: heads.fusedColumns, seed: 88)
      var last = Table(rows: 1, columns: heads.fusedColumns)
      for column in 0..<fused.columns { last[0, column] = fused[count - 1, column] }
      let cache = Cache(fused, count: count, heads: heads, spare: 0, precision: precision)
      let (operand, output) = (Operand(last, precision), Operand(rows: 1, columns: 24, precision))
      let (keys, values) = (cache.keys.table, cache.values.table)
      compute.cachedAttention(
        operand.operand, heads: heads, caches: [cache.part], into: output.operand)
      var (newKeys, newValues) = (keys, values)
      let stored = operand.table
      for head in 0..<2 {
        for index in 0..<6 {
          let place = head * cache.part.capacity + count - 1
          newKeys[place, index] = stored[0, (4 + head) * 6 + index]
          newValues[place, index] = stored[0, (6 + head) * 6 + index]
        }
      }
      expectEqual(cache.keys.table.values, newKeys.values)
      expectEqual(cache.values.table.values, newValues.values)
    }
  }

  /// Decoding and a forward over the whole sequence give a row the same bits: one token at a time,
  /// whatever stands behind the filled positions, tiles of 32 and of 64 rows.
  @Test(
    .enabled(if: hasInvariantKernels, "only where products are invariant"),
    arguments: Precision.allCases, [nil, 1, 7, 40, 64, 100])
  func decodingEqualsTheWholeSequence(_ precision: Precision, window: Int?) {
    for heads in Self.heads + [AttentionHeads(queryCount: 8, keyValueCount: 1, size: 16)] {
      for length in [70, 300] {
        expectDecoding(length, heads, precision, window: window)
      }
    }
  }

  /// The same where sums over keys are cut: blocks of queries and their windows begin at multiples of 64.
  @Test(
    .enabled(if: hasInvariantKernels, "only where products are invariant"),
    arguments: Precision.allCases, [nil, 577])
  func decodingEqualsALongSequence(_ precision: Precision, window: Int?) {
    let heads = AttentionHeads(queryCount: 8, keyValueCount: 1, size: 64)
    expectDecoding(1200, heads, precision, window: window)
  }

  private func expectDecoding(
    _ length: Int, _ heads: AttentionHeads, _ precision: Precision, window: Int?
  ) {
    let compute = Compute(threadCount: 1)
    let fused = Table(rows: length, columns: heads.fusedColumns, seed: 89)
    let operand = Operand(fused, precision)
    let width = heads.queryCount * heads.size
    let output = Operand(rows: length, columns: width, precision)
    let normalizers = Operand(rows: heads.queryCount, columns: 2 * length)
    compute.attention(
      operand.operand, heads: heads,
      families: [AttentionFamily(segments: [AttentionSegment(rows: 0..<length)])],
      window: window, into: output.operand, normalizers: normalizers.base)
    let whole = output.bits
    let cache = Cache(fused, count: length, heads: heads, spare: 64, precision: precision)
    let part = cache.part
    let newest = Operand(rows: 1, columns: width, precision)
    var different: [Int] = []
    for row in 0..<length {
      compute.cachedAttention(
        operand.operand.rows(row..<row + 1), heads: heads,
        caches: [
          CachedKeys(
            keys: part.keys, values: part.values, capacity: part.capacity, count: row + 1)
        ], window: window, into: newest.operand)
      if newest.bits != Array(whole[row * width..<(row + 1) * width]) { different.append(row) }
    }
    #expect(different.isEmpty, "\(heads), \(length) rows: \(different)")
    withExtendedLifetime(cache) {}
  }
}
