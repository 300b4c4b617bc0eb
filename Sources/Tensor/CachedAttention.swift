/// Keys and values of one sequence's past, for one layer: first a shared part, then its own.
public struct CachedKeys {
  /// Keys (K, capacity, size), head after head.
  public let keys: UnsafeMutablePointer<Float>
  /// Values, laid out as the keys.
  public let values: UnsafeMutablePointer<Float>
  /// Positions that fit in a head's part.
  public let capacity: Int
  /// Positions that are filled.
  public var count: Int

  /// A part of a cache from its pointers.
  public init(
    keys: UnsafeMutablePointer<Float>, values: UnsafeMutablePointer<Float>, capacity: Int,
    count: Int
  ) {
    self.keys = keys
    self.values = values
    self.capacity = capacity
    self.count = count
  }
}

extension Compute {
  /// Attention of one new token per sequence over its cached keys: the decoding step.
  ///
  /// - Parameters:
  ///   - fused: rotated queries and keys, and values, of the new tokens (M, (Q + 2 K) · size); the
  ///     new token's own key and value must be in `own` already.
  ///   - heads: the heads.
  ///   - shared: for each row the prompt's cache.
  ///   - own: for each row the cache of what was generated.
  ///   - window: positions that a row sees, its own included; nil for all.
  ///   - output: (M, Q · size), overwritten.
  public func cachedAttention(
    _ fused: Matrix, heads: AttentionHeads, shared: [CachedKeys], own: [CachedKeys],
    window: Int? = nil, into output: Matrix
  ) {
    precondition(shared.count == fused.rows && own.count == fused.rows)
    let size = heads.size
    pool.forEachPart(of: fused.rows * heads.queryCount) { part, thread in
      for task in part {
        let row = task / heads.queryCount
        let head = task % heads.queryCount
        let past = shared[row]
        let new = own[row]
        let end = past.count + new.count
        let start = max(0, end - (window ?? end))
        // The positions seen of each part, and where they stand among the scores.
        let parts = [
          (past, min(start, past.count)..<past.count, 0),
          (new, max(0, start - past.count)..<new.count, max(0, past.count - start)),
        ]
        let keyValueHead = head / heads.groupSize
        withScratch(end - start, thread: thread) { scores in
          let query = fused.row(row) + head * size
          for (part, seen, first) in parts {
            let key = part.keys + (keyValueHead * part.capacity + seen.lowerBound) * size
            for index in 0..<seen.count {
              scores[first + index] = dot(query, key + index * size, count: size) * heads.scale
            }
          }
          let sum = exponentialsInPlace(
            scores, shift: maximum(scores, count: end - start), count: end - start)
          let result = output.row(row) + head * size
          result.update(repeating: 0, count: size)
          for (part, seen, first) in parts {
            let value = part.values + (keyValueHead * part.capacity + seen.lowerBound) * size
            for index in 0..<seen.count {
              addScaled(
                result, value + index * size, scale: scores[first + index] / sum, count: size)
            }
          }
        }
      }
    }
  }
}
