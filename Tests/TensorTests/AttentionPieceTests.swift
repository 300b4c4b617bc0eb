import Tensor
import Testing

/// One layer's cache of one sequence, filled with what would be seen in any product.
private final class Cache {
  let keys: Operand
  let values: Operand
  let capacity: Int
  private let heads: AttentionHeads

  init(positions: Int, _ heads: AttentionHeads, _ precision: Precision) {
    capacity = (positions + CachedKeys.multiple - 1) / CachedKeys.multiple * CachedKeys.multiple
    self.heads = heads
    keys = Operand(
      rows: heads.keyValueCount * capacity, columns: heads.size, precision, filledWith: .nan)
    values = Operand(
      rows: heads.keyValueCount * capacity, columns: heads.size, precision, filledWith: .nan)
  }

  func part(count: Int) -> CachedKeys {
    CachedKeys(
      keys: keys.operand.base, values: values.operand.base, capacity: capacity, count: count)
  }

  /// The keys and values of a position as columns of a fused row have them.
  func columns(at position: Int) -> [Double] {
    let (keys, values) = (keys.table, values.table)
    return [keys, values].flatMap { table in
      (0..<heads.keyValueCount).flatMap { Reference.row(table, $0 * capacity + position) }
    }
  }
}

/// Sequences that are computed piece by piece, each with its own cache.
@Suite struct AttentionPieceTests {
  private static let heads = [
    AttentionHeads(queryCount: 4, keyValueCount: 2, size: 6),
    AttentionHeads(queryCount: 6, keyValueCount: 2, size: 64),
    AttentionHeads(queryCount: 3, keyValueCount: 1, size: 16),
  ]

  /// Pieces give the brute force, in every bit the whole sequences' attention where products are
  /// invariant, and leave all keys and values in the caches.
  @Test(arguments: Setting.all, Precision.allCases)
  func piecesEqualTheWhole(_ setting: Setting, _ precision: Precision) {
    let compute = setting.compute()
    for heads in Self.heads {
      for (window, pieceLength) in [(nil, 64), (nil, 128), (1, 64), (7, 64), (100, 64), (70, 192)] {
        let what = "\(heads), window \(window ?? 0), pieces of \(pieceLength)"
        let lengths = [150, 40, 64, 330]
        let width = heads.queryCount * heads.size
        let sources = lengths.indices.map {
          Table(rows: lengths[$0], columns: heads.fusedColumns, seed: UInt64(60 + $0))
            .rounded(precision)
        }
        let caches = lengths.map { Cache(positions: $0, heads, precision) }
        var outputs = lengths.map { Table(rows: $0, columns: width) }
        var sums = lengths.map { Table(rows: heads.queryCount, columns: 2 * $0) }
        for start in stride(from: 0, to: 330, by: pieceLength) {
          // The next piece of each sequence, behind an unused row.
          let sequences = lengths.indices.filter { start < lengths[$0] }
          let ends = sequences.map { min(lengths[$0], start + pieceLength) }
          let rows = ends.reduce(1) { $0 + $1 - start }
          var batch = Table(rows: rows, columns: heads.fusedColumns)
          var families: [AttentionFamily] = []
          var first = 1
          for (sequence, end) in zip(sequences, ends) {
            for row in start..<end {
              for column in 0..<batch.columns {
                batch[first + row - start, column] = sources[sequence][row, column]
              }
            }
            let range = first..<first + end - start
            families.append(
              AttentionFamily(segments: [AttentionSegment(rows: range, cachedCount: start)]))
            first = range.upperBound
          }
          let operand = Operand(batch, precision)
          let output = Operand(rows: rows, columns: width, precision)
          let normalizers = Operand(rows: heads.queryCount, columns: 2 * rows)
          compute.attention(
            operand.operand, heads: heads, families: families,
            caches: zip(sequences, ends).map { caches[$0].part(count: $1) }, window: window,
            into: output.operand, normalizers: normalizers.base)
          #expect(output.isGuardIntact && normalizers.isGuardIntact)
          let (found, foundSums) = (output.table, normalizers.table)
          #expect(Reference.row(found, 0).allSatisfy { $0 == Double(Operand.mark(precision)) })
          for (sequence, family) in zip(sequences, families) {
            for row in family.segments[0].rows {
              let position = start + row - family.segments[0].rows.lowerBound
              for column in 0..<width { outputs[sequence][position, column] = found[row, column] }
              for head in 0..<heads.queryCount {
                sums[sequence][head, 2 * position] = foundSums[head, 2 * row]
                sums[sequence][head, 2 * position + 1] = foundSums[head, 2 * row + 1]
              }
            }
          }
        }
        for index in lengths.indices {
          let families = [AttentionFamily(segments: [AttentionSegment(rows: 0..<lengths[index])])]
          let operand = Operand(sources[index], precision)
          let whole = Operand(rows: lengths[index], columns: width, precision)
          let normalizers = Operand(rows: heads.queryCount, columns: 2 * lengths[index])
          compute.attention(
            operand.operand, heads: heads, families: families, window: window,
            into: whole.operand, normalizers: normalizers.base)
          if setting.usesOneDNN && hasInvariantKernels {
            expectEqual(outputs[index].values, whole.table.values, what)
            expectEqual(sums[index].values, normalizers.table.values, what)
          }
          if precision == .f32 {
            expectClose(
              Operand(outputs[index]),
              Reference.attention(sources[index], heads: heads, families: families, window: window)
                .output, tolerance: 2e-6, what)
          }
          let different = (0..<lengths[index]).filter { position in
            caches[index].columns(at: position)
              != Array(Reference.row(sources[index], position)[width...])
          }
          #expect(different.isEmpty, "\(what): cache of sequence \(index)")
          #expect(caches[index].keys.isGuardIntact && caches[index].values.isGuardIntact)
        }
      }
    }
  }
}

extension Operand {
  /// What memory is filled with that nothing has overwritten.
  fileprivate static func mark(_ precision: Precision) -> Float {
    Operand(rows: 1, columns: 1, precision).floats[0]
  }
}
