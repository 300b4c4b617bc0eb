import Glibc

// Tiles of attention: which rows and keys a product has, and moving them to and from dense memory.

extension AttentionHeads {
  func keyOffset(_ head: Int) -> Int { (queryCount + head) * size }
  func valueOffset(_ head: Int) -> Int { (queryCount + keyValueCount + head) * size }
  func queryHeads(of keyValueHead: Int) -> Range<Int> {
    keyValueHead * groupSize..<(keyValueHead + 1) * groupSize
  }
}

/// Query rows of a tile and the keys that they can see.
struct QueryBlock {
  let tile: Int
  let firstRow: Int
  let count: Int
  /// Rows of the block's products: its own, or the tile's where products want that.
  let rows: Int
  /// First key of the block's products, a multiple of the tile: the keys before it no row sees.
  let firstKey: Int
  /// Keys in the block's products: up to the last that a row sees, rounded up to whole tiles.
  let keys: Int
  /// Keys up to the block's first row's own, it included.
  private let firstEnd: Int
  private let window: Int?

  init(_ segment: AttentionSegment, start: Int, window: Int?, isPadded: Bool) {
    tile = segment.tile
    firstRow = segment.rows.lowerBound + start
    count = min(tile, segment.rows.count - start)
    rows = isPadded ? tile : count
    self.window = window
    firstEnd = segment.keyCount - segment.rows.count + start + 1
    let unseen = max(0, firstEnd - (window ?? firstEnd))
    firstKey = unseen / tile * tile
    keys = (firstEnd + count - 1 - firstKey + tile - 1) / tile * tile
  }

  /// The keys that one of the block's rows sees, counted from `firstKey`.
  func visible(_ row: Int) -> Range<Int> {
    let end = firstEnd + row
    return max(0, end - (window ?? end)) - firstKey..<end - firstKey
  }

  func zeroUnseen(_ line: Floats, _ visible: Range<Int>) {
    line.update(repeating: 0, count: visible.lowerBound)
    (line + visible.upperBound).update(repeating: 0, count: keys - visible.upperBound)
  }

  func zeroUnusedRows(
    of dense: UnsafeMutableRawPointer, columns: Int, _ precision: Precision = .f32
  ) {
    let rowBytes = columns * precision.byteCount
    memset(dense + count * rowBytes, 0, (rows - count) * rowBytes)
  }
}

/// Places of a tile's matrices in one run of scratch floats, each on a 64-byte boundary.
struct TileSpace {
  private let precision: Precision
  /// Floats of all places.
  private(set) var count = 0

  init(_ precision: Precision) { self.precision = precision }

  /// The place of a matrix of floats.
  mutating func floats(_ length: Int) -> Int {
    let place = count
    count += (length + 15) / 16 * 16
    return place
  }

  /// The place of a matrix of operands.
  mutating func operands(_ length: Int) -> Int {
    floats(precision == .f32 ? length : (length + 1) / 2)
  }
}

/// Copies one head of the segment's prefix and rows into dense rows, behind the cached positions that
/// are there already, then zero rows to a whole tile.
func gather(
  _ fused: OperandMatrix, _ offset: Int, _ size: Int, _ segment: AttentionSegment,
  into dense: UnsafeMutableRawPointer
) {
  let bytes = fused.precision.byteCount
  var target = dense + segment.cachedCount * size * bytes
  for range in [segment.prefix, segment.rows] {
    for row in range {
      target.copyMemory(from: fused.row(row) + offset * bytes, byteCount: size * bytes)
      target += size * bytes
    }
  }
  memset(target, 0, (segment.paddedKeyCount - segment.keyCount) * size * bytes)
}

/// Adds dense gradients to the prefix's rows, writes them to the segment's own.
func scatter(
  _ dense: Floats, _ offset: Int, _ size: Int, _ segment: AttentionSegment, into dFused: Matrix
) {
  var source = dense
  for row in segment.prefix {
    addInPlace(dFused.row(row) + offset, source, count: size)
    source += size
  }
  for row in segment.rows {
    (dFused.row(row) + offset).update(from: source, count: size)
    source += size
  }
}

func gatherQueries(
  _ fused: OperandMatrix, head: Int, _ heads: AttentionHeads, _ block: QueryBlock,
  into query: UnsafeMutableRawPointer
) {
  let bytes = heads.size * fused.precision.byteCount
  for row in 0..<block.count {
    (query + row * bytes).copyMemory(
      from: fused.row(block.firstRow + row) + head * bytes, byteCount: bytes)
  }
  block.zeroUnusedRows(of: query, columns: heads.size, fused.precision)
}

/// A row's products of query and keys to e^(score − largest score) where it may look.
///
/// - Parameters:
///   - line: products in, weights out; what is not visible is left alone.
///   - visible: the keys that the row sees, at least one.
///   - scale: score ÷ product.
///   - normalizer: the largest score and 1/Σ weights, overwritten.
@inline(__always)
func softmaxWeights(_ line: Floats, visible: Range<Int>, scale: Float, normalizer: Floats) {
  let seen = line + visible.lowerBound
  for index in 0..<visible.count { seen[index] *= scale }
  let largest = maximum(seen, count: visible.count)
  normalizer[0] = largest
  normalizer[1] = 1 / exponentialsInPlace(seen, shift: largest, count: visible.count)
}

/// A row's products to its probabilities, by what the forward saved.
@inline(__always)
func probabilities(
  _ line: Floats, visible: Range<Int>, scale: Float, normalizer: ConstantFloats
) {
  let seen = line + visible.lowerBound
  for index in 0..<visible.count { seen[index] *= scale }
  _ = exponentialsInPlace(seen, shift: normalizer[0], count: visible.count)
  let inverse = normalizer[1]
  for index in 0..<visible.count { seen[index] *= inverse }
}

/// A row's gradient by its probabilities to that by its products: dP ← P ∘ (dP − ⟨P, dP⟩) · scale.
@inline(__always)
func scoreGradient(
  _ gradient: Floats, probabilities: ConstantFloats, scale: Float, count: Int
) {
  let mean = dot(probabilities, gradient, count: count)
  for index in 0..<count {
    gradient[index] = probabilities[index] * (gradient[index] - mean) * scale
  }
}
