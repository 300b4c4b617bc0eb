/// Keys and values of one sequence's past, for one layer.
public struct CachedKeys {
  /// Keys (K, capacity, size), head after head.
  public let keys: UnsafeMutableRawPointer
  /// Values, laid out as the keys.
  public let values: UnsafeMutableRawPointer
  /// Positions that fit in a head's part, a multiple of ``multiple``; all of them are finite numbers.
  public let capacity: Int
  /// Positions that are filled.
  public let count: Int

  /// Positions come in whole multiples of this, so that products have few shapes.
  public static let multiple = 64

  /// A cache from its pointers.
  public init(
    keys: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer, capacity: Int, count: Int
  ) {
    precondition(capacity % CachedKeys.multiple == 0 && count <= capacity)
    self.keys = keys
    self.values = values
    self.capacity = capacity
    self.count = count
  }

  /// A head's keys and values (capacity, size).
  func head(
    _ index: Int, _ size: Int, _ precision: Precision
  ) -> (keys: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer) {
    let offset = index * capacity * size * precision.byteCount
    return (keys + offset, values + offset)
  }
}

extension Compute {
  /// Attention of one new token per sequence over its cached keys: the decoding step.
  ///
  /// Where products are invariant, a row has the bits that ``attention(_:heads:families:caches:window:into:normalizers:)``
  /// gives it in a whole sequence: the same products, beside which stand other rows and zeros only.
  /// - Parameters:
  ///   - fused: rotated queries and keys, and values, of the new tokens (M, (Q + 2 K) · size).
  ///   - heads: the heads.
  ///   - caches: one for each row, in numbers of the type of `fused`; the new token's key and value
  ///     become the last of its `count` positions.
  ///   - window: positions that a row sees, its own included; nil for all.
  ///   - output: (M, Q · size) of the type of `fused`, overwritten.
  public func cachedAttention(
    _ fused: OperandMatrix, heads: AttentionHeads, caches: [CachedKeys], window: Int? = nil,
    into output: OperandMatrix
  ) {
    precondition(caches.count == fused.rows && output.precision == fused.precision)
    let size = heads.size
    let group = heads.groupSize
    let precision = fused.precision
    let bytes = precision.byteCount
    pool.forEachPart(of: fused.rows * heads.keyValueCount) { part, thread in
      let engine = engines[thread]
      let multiple = engine.hasAnyShape(size: size) ? 32 : CachedKeys.multiple
      for task in part {
        let (row, keyValueHead) = task.quotientAndRemainder(dividingBy: heads.keyValueCount)
        let cache = caches[row]
        let start = max(0, cache.count - (window ?? cache.count))
        // As in a whole sequence, whose first key is that of a block of queries: from here sums are cut.
        let first = start / CachedKeys.multiple * CachedKeys.multiple
        let keys = (cache.count + multiple - 1) / multiple * multiple - first
        let (key, value) = cache.head(keyValueHead, size, precision)
        // Without a window also where the next task starts.
        let nextTask = min(task + 1, part.upperBound - 1)
        let nextKey = caches[nextTask / heads.keyValueCount]
          .head(nextTask % heads.keyValueCount, size, precision).keys
        var space = TileSpace(precision)
        let (scorePlace, resultPlace) = (space.floats(group * keys), space.floats(group * size))
        let weightPlace = precision == .f32 ? scorePlace : space.operands(group * keys)
        withScratch(space.count, thread: thread) { memory in
          let (scores, result) = (memory + scorePlace, memory + resultPlace)
          let weights = memory + weightPlace
          let new = fused.row(row) + (heads.queryCount + keyValueHead) * size * bytes
          let last = (cache.count - 1) * size * bytes
          (key + last).copyMemory(from: new, byteCount: size * bytes)
          (value + last).copyMemory(
            from: new + heads.keyValueCount * size * bytes, byteCount: size * bytes)
          let query = fused.row(row) + keyValueHead * group * size * bytes
          engine.multiply(
            ProductShape(
              rows: group, columns: keys, inner: size, transposesB: true, precision: precision),
            query, key + first * size * bytes, into: scores, fetching: value + first * size * bytes)
          let visible = start - first..<cache.count - first
          withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * group) { normalizers in
            guard let normalizer = normalizers.baseAddress else { return }
            for head in 0..<group {
              let line = scores + head * keys
              softmaxWeights(
                line, visible: visible, scale: heads.scale, normalizer: normalizer + 2 * head)
              line.update(repeating: 0, count: visible.lowerBound)
              (line + visible.upperBound).update(repeating: 0, count: keys - visible.upperBound)
            }
            if precision == .bf16 {
              storeRounded(scores, to: weights, .bf16, count: group * keys)
            }
            engine.multiply(
              ProductShape(rows: group, columns: size, inner: keys, precision: precision), weights,
              value + first * size * bytes, into: result, fetching: nextKey)
            for head in 0..<group {
              let line = result + head * size
              let inverse = normalizer[2 * head + 1]
              for index in 0..<size { line[index] *= inverse }
            }
          }
          storeRounded(
            result, to: output.row(row) + keyValueHead * group * size * bytes, precision,
            count: group * size)
        }
      }
    }
  }
}
