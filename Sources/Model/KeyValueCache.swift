import Tensor

/// Keys and values of a run of positions, for all layers: a prompt's, or one completion's own.
final class KeyValueCache {
  private let memory: FloatBuffer
  private let heads: AttentionHeads
  let capacity: Int
  var count = 0

  init(_ c: DecoderConfiguration, capacity: Int) {
    heads = c.heads
    self.capacity = capacity
    memory = FloatBuffer(
      count: c.layerCount * 2 * c.heads.keyValueCount * capacity * c.heads.size)
  }

  /// One layer's part with `count` filled positions.
  func layer(_ index: Int, count: Int) -> CachedKeys {
    let size = heads.keyValueCount * capacity * heads.size
    return CachedKeys(
      keys: memory.base + 2 * index * size, values: memory.base + (2 * index + 1) * size,
      capacity: capacity, count: count)
  }

  /// Copies the key and value of one row of rotated queries, keys and values to a position.
  func store(_ fusedRow: UnsafePointer<Float>, layer index: Int, position: Int) {
    precondition(position < capacity)
    let target = layer(index, count: count)
    for head in 0..<heads.keyValueCount {
      let place = (head * capacity + position) * heads.size
      let key = (heads.queryCount + head) * heads.size
      (target.keys + place).update(from: fusedRow + key, count: heads.size)
      (target.values + place).update(
        from: fusedRow + key + heads.keyValueCount * heads.size, count: heads.size)
    }
  }
}
