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
  ///   - output: (M, Q · size), overwritten.
  public func cachedAttention(
    _ fused: Matrix, heads: AttentionHeads, shared: [CachedKeys], own: [CachedKeys],
    into output: Matrix
  ) {
    precondition(shared.count == fused.rows && own.count == fused.rows)
    let size = heads.size
    pool.forEachPart(of: fused.rows * heads.queryCount) { part, thread in
      for task in part {
        let row = task / heads.queryCount
        let head = task % heads.queryCount
        let past = shared[row]
        let new = own[row]
        let count = past.count + new.count
        let keyValueHead = head / heads.groupSize
        withScratch(count, thread: thread) { scores in
          let query = fused.row(row) + head * size
          for (part, first) in [(past, 0), (new, past.count)] {
            let key = part.keys + keyValueHead * part.capacity * size
            for index in 0..<part.count {
              scores[first + index] = dot(query, key + index * size, count: size) * heads.scale
            }
          }
          let sum = exponentialsInPlace(
            scores, shift: maximum(scores, count: count), count: count)
          let result = output.row(row) + head * size
          result.update(repeating: 0, count: size)
          for (part, first) in [(past, 0), (new, past.count)] {
            let value = part.values + keyValueHead * part.capacity * size
            for index in 0..<part.count {
              addScaled(
                result, value + index * size, scale: scores[first + index] / sum, count: size)
            }
          }
        }
      }
    }
  }
}
