import Checkpoint
import Worker

/// Keys of a batch's pairs in the reference cache, nil where a pair is not kept.
///
/// Kept are pairs of the data; what was generated online does not come again. A key is the hash of the
/// pair's token ids. Where products are not row-independent (OpenBLAS), what the reference says of a
/// pair can depend in its last bits on the pairs beside it. There a key covers the whole batch and the
/// pair's place in it, and a batch with a generated pair has no keys.
///
/// - Parameters:
///   - batch: pairs that go through the reference together.
///   - areRowsIndependent: whether the kernels' rows don't depend on each other.
/// - Returns: a key for each pair.
func referenceKeys(of batch: [PairRow], areRowsIndependent: Bool) -> [ContentHash?] {
  if areRowsIndependent {
    return batch.map { $0.route.isOnline ? nil : ContentHash(of: bytes(of: $0)) }
  }
  guard !batch.contains(where: \.route.isOnline) else { return batch.map { _ in nil } }
  let all = ContentHash(of: batch.flatMap(bytes(of:)))
  return batch.indices.map { place in
    ContentHash(
      of: [all.high, all.low, UInt64(place)].flatMap { number in
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
      })
  }
}

/// The token ids of a pair with their counts, as 32-bit little-endian words.
private func bytes(of row: PairRow) -> [UInt8] {
  let parts = [row.prompt, row.first, row.second]
  let words = parts.map { Int32(truncatingIfNeeded: $0.count) } + parts.joined()
  return words.map(\.littleEndian).withUnsafeBytes { Array($0) }
}
