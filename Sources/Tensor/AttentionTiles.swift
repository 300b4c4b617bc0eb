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
  /// First key of the block's products, a multiple of the tile: the keys before it no row sees.
  let firstKey: Int
  /// Keys in the block's products: up to the last that a row sees, rounded up to whole tiles.
  let keys: Int
  /// Keys up to the block's first row's own, it included.
  private let firstEnd: Int
  private let window: Int?

  init(_ segment: AttentionSegment, start: Int, window: Int?) {
    tile = segment.tile
    firstRow = segment.rows.lowerBound + start
    count = min(tile, segment.rows.count - start)
    self.window = window
    firstEnd = segment.prefix.count + start + 1
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

  func zeroUnusedRows(of dense: Floats, columns: Int) {
    (dense + count * columns).update(repeating: 0, count: (tile - count) * columns)
  }
}

/// Copies one head of the segment's prefix and rows into dense rows, then zero rows to a whole tile.
func gather(
  _ fused: Matrix, _ offset: Int, _ size: Int, _ segment: AttentionSegment, into dense: Floats
) {
  var target = dense
  for range in [segment.prefix, segment.rows] {
    for row in range {
      target.update(from: fused.row(row) + offset, count: size)
      target += size
    }
  }
  target.update(repeating: 0, count: (segment.paddedKeyCount - segment.keyCount) * size)
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
  _ fused: Matrix, head: Int, _ heads: AttentionHeads, _ block: QueryBlock, into query: Floats
) {
  let size = heads.size
  for row in 0..<block.count {
    let source = fused.row(block.firstRow + row) + head * size
    let target = query + row * size
    for index in 0..<size { target[index] = source[index] * heads.scale }
  }
  block.zeroUnusedRows(of: query, columns: size)
}

/// Scores to probabilities, zero where a row may not look; rows beyond the block become zero.
func softmax(_ scores: Floats, _ block: QueryBlock, logSumExp: Floats) {
  for row in 0..<block.count {
    let line = scores + row * block.keys
    let visible = block.visible(row)
    let seen = line + visible.lowerBound
    let largest = maximum(seen, count: visible.count)
    let sum = exponentialsInPlace(seen, shift: largest, count: visible.count)
    let inverse = 1 / sum
    for index in 0..<visible.count { seen[index] *= inverse }
    block.zeroUnseen(line, visible)
    logSumExp[block.firstRow + row] = largest + log(sum)
  }
  block.zeroUnusedRows(of: scores, columns: block.keys)
}

/// Scores to probabilities by the saved log-sum-exp.
func probabilities(_ scores: Floats, _ block: QueryBlock, logSumExp: ConstantFloats) {
  for row in 0..<block.count {
    let line = scores + row * block.keys
    let visible = block.visible(row)
    _ = exponentialsInPlace(
      line + visible.lowerBound, shift: logSumExp[block.firstRow + row], count: visible.count)
    block.zeroUnseen(line, visible)
  }
  block.zeroUnusedRows(of: scores, columns: block.keys)
}
