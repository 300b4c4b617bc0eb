/// Rows of a packed batch that attend causally to each other and, all of them, to a prefix.
public struct AttentionSegment: Sendable {
  /// The segment's own rows, consecutive in the batch.
  public var rows: Range<Int>
  /// Rows of another segment that every row of this one sees, empty for none.
  public var prefix: Range<Int>
  /// Positions before these that are in a cache and in no row, which every row sees too.
  public var cachedCount: Int

  /// A segment from its rows and what comes before them.
  public init(rows: Range<Int>, prefix: Range<Int> = 0..<0, cachedCount: Int = 0) {
    self.rows = rows
    self.prefix = prefix
    self.cachedCount = cachedCount
  }

  var keyCount: Int { cachedCount + prefix.count + rows.count }

  /// Queries go in tiles of this many rows: small ones for short segments, which waste less padding.
  var tile: Int { keyCount <= 256 ? 32 : 64 }

  /// Keys with zero rows up to whole tiles, so that products come in few shapes; zeros change no sum.
  var paddedKeyCount: Int { (keyCount + tile - 1) / tile * tile }
}

/// Segments that share a prompt; the first has no prefix, the prefixes of the others are rows of it.
public struct AttentionFamily: Sendable {
  /// The segments, the one that holds the prompt first.
  public var segments: [AttentionSegment]

  /// A family from its segments.
  public init(segments: [AttentionSegment]) {
    precondition(segments.first?.prefix.isEmpty ?? true)
    self.segments = segments
  }
}

/// Heads of a decoder's attention; grouped queries share a key/value head.
public struct AttentionHeads: Sendable, Equatable {
  /// Number of query heads.
  public var queryCount: Int
  /// Number of key and value heads; divides `queryCount`.
  public var keyValueCount: Int
  /// Size of a head.
  public var size: Int

  /// Heads from their counts and size.
  public init(queryCount: Int, keyValueCount: Int, size: Int) {
    self.queryCount = queryCount
    self.keyValueCount = keyValueCount
    self.size = size
  }

  /// Columns of queries, keys and values side by side.
  public var fusedColumns: Int { (queryCount + 2 * keyValueCount) * size }
  var groupSize: Int { queryCount / keyValueCount }
  var scale: Float { 1 / Float(size).squareRoot() }
}

extension Compute {
  /// Causal attention over a packed batch: out = softmax(q kᵀ/√size + mask) v for every head.
  ///
  /// One task is a family and a key/value head; no two tasks share a sum. A row sees itself and what is
  /// before it: all of it, or the nearest `window` − 1 positions (Beltagy et al., arXiv 2004.05150).
  /// - Parameters:
  ///   - fused: rotated queries and keys, and values, side by side (T, (Q + 2 K) · size).
  ///   - heads: the heads.
  ///   - families: which rows see which; rows in none are left alone.
  ///   - caches: one for each family, which then has one segment, in numbers of the type of `fused`: the
  ///     rows' keys and values become the last of its `count` positions, and all are read there; empty
  ///     to read them in `fused`.
  ///   - window: positions that a row sees, its own included; nil for all.
  ///   - output: (T, Q · size) of the type of `fused`, the families' rows overwritten.
  ///   - normalizers: (Q, T, 2) each soft-max's largest score and inverse denominator, overwritten,
  ///     for the backward.
  public func attention(
    _ fused: OperandMatrix, heads: AttentionHeads, families: [AttentionFamily],
    caches: [CachedKeys] = [], window: Int? = nil, into output: OperandMatrix,
    normalizers: UnsafeMutablePointer<Float>
  ) {
    precondition(caches.isEmpty || caches.count == families.count)
    precondition(caches.isEmpty || families.allSatisfy { $0.segments.count == 1 })
    precondition(fused.columns == heads.fusedColumns && output.precision == fused.precision)
    precondition(output.columns == heads.queryCount * heads.size && output.rows == fused.rows)
    pool.run(families.count * heads.keyValueCount) { task, thread in
      let (family, keyValueHead) = task.quotientAndRemainder(dividingBy: heads.keyValueCount)
      for segment in families[family].segments {
        segmentForward(
          segment, keyValueHead: keyValueHead, fused: fused, heads: heads,
          cache: caches.isEmpty ? nil : caches[family], window: window, into: output,
          normalizers: normalizers, thread: thread)
      }
    }
  }

  private func segmentForward(
    _ segment: AttentionSegment, keyValueHead: Int, fused: OperandMatrix, heads: AttentionHeads,
    cache: CachedKeys?, window: Int?, into output: OperandMatrix, normalizers: Floats, thread: Int
  ) {
    precondition(cache.map { $0.count == segment.keyCount } ?? (segment.cachedCount == 0))
    let size = heads.size
    let keys = segment.paddedKeyCount
    let tile = segment.tile
    let isPadded = !engines[thread].hasAnyShape(size: size)
    let precision = fused.precision
    var space = TileSpace(precision)
    let gathered = cache == nil ? keys * size : 0
    let (keyPlace, valuePlace) = (space.operands(gathered), space.operands(gathered))
    let queryPlace = space.operands(tile * size)
    let resultPlace = space.floats(tile * size)
    let scorePlace = space.floats(tile * keys)
    let weightPlace = precision == .f32 ? scorePlace : space.operands(tile * keys)
    withScratch(space.count, thread: thread) { memory in
      var key = UnsafeMutableRawPointer(memory + keyPlace)
      var value = UnsafeMutableRawPointer(memory + valuePlace)
      if let cache { (key, value) = cache.head(keyValueHead, size, precision) }
      let (query, result) = (memory + queryPlace, memory + resultPlace)
      let (scores, weights) = (memory + scorePlace, memory + weightPlace)
      gather(fused, heads.keyOffset(keyValueHead), size, segment, into: key)
      gather(fused, heads.valueOffset(keyValueHead), size, segment, into: value)
      for head in heads.queryHeads(of: keyValueHead) {
        for start in stride(from: 0, to: segment.rows.count, by: tile) {
          let block = QueryBlock(segment, start: start, window: window, isPadded: isPadded)
          let first = block.firstKey * size * precision.byteCount
          gatherQueries(fused, head: head, heads, block, into: query)
          engines[thread].multiply(
            ProductShape(
              rows: block.rows, columns: block.keys, inner: size, transposesB: true,
              precision: precision), query, key + first, into: scores)
          let saved = normalizers + 2 * (head * fused.rows + block.firstRow)
          for row in 0..<block.count {
            softmaxWeights(
              scores + row * block.keys, visible: block.visible(row), scale: heads.scale,
              normalizer: saved + 2 * row)
            block.zeroUnseen(scores + row * block.keys, block.visible(row))
          }
          block.zeroUnusedRows(of: scores, columns: block.keys)
          if precision == .bf16 {
            storeRounded(scores, to: weights, .bf16, count: block.rows * block.keys)
          }
          engines[thread].multiply(
            ProductShape(rows: block.rows, columns: size, inner: block.keys, precision: precision),
            weights, value + first, into: result)
          for row in 0..<block.count {
            let line = result + row * size
            let inverse = saved[2 * row + 1]
            for index in 0..<size { line[index] *= inverse }
            storeRounded(
              line, to: output.row(block.firstRow + row) + head * size * precision.byteCount,
              precision, count: size)
          }
        }
      }
    }
  }

  /// Backward of ``attention(_:heads:families:caches:window:into:normalizers:)`` without caches.
  ///
  /// Per tile, with P recomputed from the saved normalizers: dV += Pᵀ dO, dP = dO Vᵀ,
  /// dS = P ∘ (dP − ⟨P, dP⟩)/√size, dQ = dS K, dK += dSᵀ Q; tiles, then query heads, then segments
  /// in order.
  /// - Parameters:
  ///   - dOutput: gradient of the output (T, Q · size).
  ///   - fused: queries, keys and values of the forward.
  ///   - heads: the heads.
  ///   - families: as in the forward.
  ///   - window: as in the forward.
  ///   - normalizers: of the forward.
  ///   - dFused: gradient of `fused`, the families' rows overwritten.
  public func attentionBackward(
    _ dOutput: Matrix, fused: OperandMatrix, heads: AttentionHeads, families: [AttentionFamily],
    window: Int? = nil, normalizers: UnsafePointer<Float>, into dFused: Matrix
  ) {
    pool.run(families.count * heads.keyValueCount) { task, thread in
      let keyValueHead = task % heads.keyValueCount
      for segment in families[task / heads.keyValueCount].segments {
        segmentBackward(
          segment, keyValueHead: keyValueHead, dOutput: dOutput, fused: fused, heads: heads,
          window: window, normalizers: normalizers, into: dFused, thread: thread)
      }
    }
  }

  private func segmentBackward(
    _ segment: AttentionSegment, keyValueHead: Int, dOutput: Matrix, fused: OperandMatrix,
    heads: AttentionHeads, window: Int?, normalizers: UnsafePointer<Float>, into dFused: Matrix,
    thread: Int
  ) {
    let size = heads.size
    let keys = segment.paddedKeyCount
    let tile = segment.tile
    let engine = engines[thread]
    let isPadded = !engine.hasAnyShape(size: size)
    let precision = fused.precision
    var space = TileSpace(precision)
    let (keyPlace, valuePlace) = (space.operands(keys * size), space.operands(keys * size))
    let (dKeyPlace, dValuePlace) = (space.floats(keys * size), space.floats(keys * size))
    let (queryPlace, dResultPlace) = (space.operands(tile * size), space.operands(tile * size))
    let dQueryPlace = space.floats(tile * size)
    let (scorePlace, dScorePlace) = (space.floats(tile * keys), space.floats(tile * keys))
    let weightPlace = precision == .f32 ? scorePlace : space.operands(tile * keys)
    let dWeightPlace = precision == .f32 ? dScorePlace : space.operands(tile * keys)
    withScratch(space.count, thread: thread) { memory in
      let (key, value) = (memory + keyPlace, memory + valuePlace)
      let (dKey, dValue) = (memory + dKeyPlace, memory + dValuePlace)
      let (query, dResult) = (memory + queryPlace, memory + dResultPlace)
      let dQuery = memory + dQueryPlace
      let (scores, dScores) = (memory + scorePlace, memory + dScorePlace)
      let (weights, dWeights) = (memory + weightPlace, memory + dWeightPlace)
      gather(fused, heads.keyOffset(keyValueHead), size, segment, into: key)
      gather(fused, heads.valueOffset(keyValueHead), size, segment, into: value)
      dKey.update(repeating: 0, count: keys * size)
      dValue.update(repeating: 0, count: keys * size)
      for head in heads.queryHeads(of: keyValueHead) {
        for start in stride(from: 0, to: segment.rows.count, by: tile) {
          let block = QueryBlock(segment, start: start, window: window, isPadded: isPadded)
          let first = block.firstKey * size
          let firstByte = first * precision.byteCount
          let wide = ProductShape(
            rows: block.rows, columns: block.keys, inner: size, transposesB: true,
            precision: precision)
          let tall = ProductShape(
            rows: block.keys, columns: size, inner: block.rows, transposesA: true,
            accumulates: true,
            precision: precision)
          gatherQueries(fused, head: head, heads, block, into: query)
          for row in 0..<block.count {
            storeRounded(
              dOutput.row(block.firstRow + row) + head * size,
              to: UnsafeMutableRawPointer(dResult) + row * size * precision.byteCount, precision,
              count: size)
          }
          block.zeroUnusedRows(of: dResult, columns: size, precision)
          engine.multiply(wide, query, UnsafeRawPointer(key) + firstByte, into: scores)
          let saved = normalizers + 2 * (head * fused.rows + block.firstRow)
          for row in 0..<block.count {
            probabilities(
              scores + row * block.keys, visible: block.visible(row), scale: heads.scale,
              normalizer: saved + 2 * row)
            block.zeroUnseen(scores + row * block.keys, block.visible(row))
          }
          block.zeroUnusedRows(of: scores, columns: block.keys)
          engine.multiply(wide, dResult, UnsafeRawPointer(value) + firstByte, into: dScores)
          for row in 0..<block.count {
            scoreGradient(
              dScores + row * block.keys, probabilities: scores + row * block.keys,
              scale: heads.scale, count: block.keys)
          }
          block.zeroUnusedRows(of: dScores, columns: block.keys)
          if precision == .bf16 {
            storeRounded(scores, to: weights, .bf16, count: block.rows * block.keys)
            storeRounded(dScores, to: dWeights, .bf16, count: block.rows * block.keys)
          }
          engine.multiply(tall, weights, dResult, into: dValue + first)
          engine.multiply(
            ProductShape(rows: block.rows, columns: size, inner: block.keys, precision: precision),
            dWeights, UnsafeRawPointer(key) + firstByte, into: dQuery)
          engine.multiply(tall, dWeights, query, into: dKey + first)
          for row in 0..<block.count {
            (dFused.row(block.firstRow + row) + head * size).update(
              from: dQuery + row * size, count: size)
          }
        }
      }
      scatter(dKey, heads.keyOffset(keyValueHead), size, segment, into: dFused)
      scatter(dValue, heads.valueOffset(keyValueHead), size, segment, into: dFused)
    }
  }
}
