/// Rows of a packed batch that attend causally to each other and, all of them, to a prefix.
public struct AttentionSegment: Sendable {
  /// The segment's own rows, consecutive in the batch.
  public var rows: Range<Int>
  /// Rows of another segment that every row of this one sees, empty for none.
  public var prefix: Range<Int>

  /// A segment from its rows and prefix.
  public init(rows: Range<Int>, prefix: Range<Int> = 0..<0) {
    self.rows = rows
    self.prefix = prefix
  }

  var keyCount: Int { prefix.count + rows.count }

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
  ///   - window: positions that a row sees, its own included; nil for all.
  ///   - output: (T, Q · size), the families' rows overwritten.
  ///   - logSumExp: (Q, T) log of each soft-max's denominator, overwritten, for the backward.
  public func attention(
    _ fused: Matrix, heads: AttentionHeads, families: [AttentionFamily], window: Int? = nil,
    into output: Matrix, logSumExp: UnsafeMutablePointer<Float>
  ) {
    precondition(fused.columns == heads.fusedColumns)
    precondition(output.columns == heads.queryCount * heads.size && output.rows == fused.rows)
    pool.run(families.count * heads.keyValueCount) { task, thread in
      let family = families[task / heads.keyValueCount]
      let keyValueHead = task % heads.keyValueCount
      for segment in family.segments {
        let keys = segment.paddedKeyCount
        let tile = segment.tile
        let size = heads.size
        withScratch(2 * keys * size + 2 * tile * size + tile * keys, thread: thread) { memory in
          let key = memory
          let value = key + keys * size
          let query = value + keys * size
          let result = query + tile * size
          let scores = result + tile * size
          gather(fused, heads.keyOffset(keyValueHead), size, segment, into: key)
          gather(fused, heads.valueOffset(keyValueHead), size, segment, into: value)
          for head in heads.queryHeads(of: keyValueHead) {
            for start in stride(from: 0, to: segment.rows.count, by: tile) {
              let block = QueryBlock(segment, start: start, window: window)
              let first = block.firstKey * size
              gatherQueries(fused, head: head, heads, block, into: query)
              engines[thread].multiply(
                ProductShape(rows: tile, columns: block.keys, inner: size, transposesB: true),
                query, key + first, into: scores)
              softmax(scores, block, logSumExp: logSumExp + head * fused.rows)
              engines[thread].multiply(
                ProductShape(rows: tile, columns: size, inner: block.keys), scores, value + first,
                into: result)
              for row in 0..<block.count {
                (output.row(block.firstRow + row) + head * size).update(
                  from: result + row * size, count: size)
              }
            }
          }
        }
      }
    }
  }

  /// Backward of ``attention(_:heads:families:window:into:logSumExp:)``.
  ///
  /// Per tile, with P recomputed from the saved log-sum-exp: dV += Pᵀ dO, dP = dO Vᵀ,
  /// dS = P ∘ (dP − ⟨dO, O⟩), dQ = dS K/√size, dK += dSᵀ Q/√size; tiles, then query heads, then
  /// segments in order.
  /// - Parameters:
  ///   - dOutput: gradient of the output (T, Q · size).
  ///   - output: output of the forward.
  ///   - fused: queries, keys and values of the forward.
  ///   - heads: the heads.
  ///   - families: as in the forward.
  ///   - window: as in the forward.
  ///   - logSumExp: of the forward.
  ///   - dFused: gradient of `fused`, the families' rows overwritten.
  public func attentionBackward(
    _ dOutput: Matrix, output: Matrix, fused: Matrix, heads: AttentionHeads,
    families: [AttentionFamily], window: Int? = nil, logSumExp: UnsafePointer<Float>,
    into dFused: Matrix
  ) {
    pool.run(families.count * heads.keyValueCount) { task, thread in
      let keyValueHead = task % heads.keyValueCount
      for segment in families[task / heads.keyValueCount].segments {
        segmentBackward(
          segment, keyValueHead: keyValueHead, dOutput: dOutput, output: output, fused: fused,
          heads: heads, window: window, logSumExp: logSumExp, into: dFused, thread: thread)
      }
    }
  }

  private func segmentBackward(
    _ segment: AttentionSegment, keyValueHead: Int, dOutput: Matrix, output: Matrix,
    fused: Matrix, heads: AttentionHeads, window: Int?, logSumExp: UnsafePointer<Float>,
    into dFused: Matrix, thread: Int
  ) {
    let size = heads.size
    let keys = segment.paddedKeyCount
    let tile = segment.tile
    let engine = engines[thread]
    withScratch(4 * keys * size + 3 * tile * size + 2 * tile * keys, thread: thread) { memory in
      let key = memory
      let value = key + keys * size
      let dKey = value + keys * size
      let dValue = dKey + keys * size
      let query = dValue + keys * size
      let dResult = query + tile * size
      let dQuery = dResult + tile * size
      let scores = dQuery + tile * size
      let dScores = scores + tile * keys
      gather(fused, heads.keyOffset(keyValueHead), size, segment, into: key)
      gather(fused, heads.valueOffset(keyValueHead), size, segment, into: value)
      dKey.update(repeating: 0, count: 2 * keys * size)
      for head in heads.queryHeads(of: keyValueHead) {
        for start in stride(from: 0, to: segment.rows.count, by: tile) {
          let block = QueryBlock(segment, start: start, window: window)
          let first = block.firstKey * size
          let wide = ProductShape(rows: tile, columns: block.keys, inner: size, transposesB: true)
          let tall = ProductShape(
            rows: block.keys, columns: size, inner: tile, transposesA: true, accumulates: true)
          gatherQueries(fused, head: head, heads, block, into: query)
          dResult.update(repeating: 0, count: tile * size)
          for row in 0..<block.count {
            (dResult + row * size).update(
              from: dOutput.row(block.firstRow + row) + head * size, count: size)
          }
          engine.multiply(wide, query, key + first, into: scores)
          probabilities(scores, block, logSumExp: logSumExp + head * fused.rows)
          engine.multiply(tall, scores, dResult, into: dValue + first)
          engine.multiply(wide, dResult, value + first, into: dScores)
          for row in 0..<block.count {
            let mean = dot(
              dResult + row * size, output.row(block.firstRow + row) + head * size, count: size)
            let gradient = dScores + row * block.keys
            let probability = scores + row * block.keys
            for index in 0..<block.keys {
              gradient[index] = probability[index] * (gradient[index] - mean)
            }
          }
          block.zeroUnusedRows(of: dScores, columns: block.keys)
          engine.multiply(
            ProductShape(rows: tile, columns: size, inner: block.keys), dScores, key + first,
            into: dQuery)
          engine.multiply(tall, dScores, query, into: dKey + first)
          for row in 0..<block.count {
            let target = dFused.row(block.firstRow + row) + head * size
            let source = dQuery + row * size
            for index in 0..<size { target[index] = source[index] * heads.scale }
          }
        }
      }
      scatter(dKey, heads.keyOffset(keyValueHead), size, segment, into: dFused)
      scatter(dValue, heads.valueOffset(keyValueHead), size, segment, into: dFused)
    }
  }
}
