import Glibc
import Tensor

/// Keys and values of one sequence, for all layers: a prompt's, or a prompt's and its completion's.
final class KeyValueCache {
  /// Positions that fit.
  let capacity: Int
  private let memory: OperandBuffer
  private let heads: AttentionHeads

  init(_ c: DecoderConfiguration, precision: Precision, positions: Int) {
    heads = c.heads
    capacity = KeyValueCache.capacity(positions: positions)
    memory = OperandBuffer(
      count: c.layerCount * 2 * c.heads.keyValueCount * capacity * c.heads.size,
      precision: precision)
  }

  static func capacity(positions: Int) -> Int {
    (positions + CachedKeys.multiple - 1) / CachedKeys.multiple * CachedKeys.multiple
  }

  /// Bytes of a cache.
  static func bytes(_ c: DecoderConfiguration, precision: Precision, positions: Int) -> Int {
    c.layerCount * 2 * c.heads.keyValueCount * c.heads.size * precision.byteCount
      * capacity(positions: positions)
  }

  private var headBytes: Int { capacity * heads.size * memory.precision.byteCount }

  /// One layer's part with `count` filled positions.
  func layer(_ index: Int, count: Int) -> CachedKeys {
    let size = heads.keyValueCount * headBytes
    let base = memory.matrix(rows: 1, columns: memory.count).base + 2 * index * size
    return CachedKeys(keys: base, values: base + size, capacity: capacity, count: count)
  }

  /// Takes over the first `count` positions of another cache, for one layer; zeroes the others.
  func copy(_ other: KeyValueCache, layer index: Int, count: Int) {
    let bytes = count * heads.size * memory.precision.byteCount
    let source = other.layer(index, count: count)
    let target = layer(index, count: count)
    for (from, to) in [(source.keys, target.keys), (source.values, target.values)] {
      for head in 0..<heads.keyValueCount {
        let place = to + head * headBytes
        place.copyMemory(from: from + head * other.headBytes, byteCount: bytes)
        memset(place + bytes, 0, headBytes - bytes)
      }
    }
  }
}
