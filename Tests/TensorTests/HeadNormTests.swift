import Tensor
import Testing

@Suite struct HeadNormTests {
  /// Some heads of wider rows: each is normed as a row of its own, the other channels stay.
  @Test(arguments: Setting.twoThreads) func headsAreNormedAlone(_ setting: Setting) {
    let compute = setting.compute()
    for (rows, count, size, offset, columns) in [
      (1, 1, 4, 0, 4), (3, 2, 6, 5, 20), (33, 3, 9, 7, 41), (5, 4, 64, 64, 400),
    ] {
      let place = HeadColumns(offset: offset, count: count, size: size)
      let whole = Table(rows: rows, columns: columns, seed: 60)
      let weight = Table(rows: 1, columns: size, seed: 61)
      let heads = Self.heads(whole, place)
      let forward = Reference.rmsNorm(heads, weight: weight, epsilon: 1e-2)

      let (operand, weightOperand) = (Operand(whole), Operand(weight))
      let saved = Operand(rows: rows * count, columns: size)
      let inverse = Operand(rows: 1, columns: rows * count)
      compute.rmsNormHeads(
        operand.matrix, heads: place, weight: weightOperand.base, epsilon: 1e-2,
        savingInput: saved.base, inverseRMS: inverse.base)
      var expected = whole
      Self.set(&expected, place, forward.y)
      expectClose(operand, expected, "\(rows) × \(count) × \(size)")
      expectClose(inverse, forward.inverseRMS, tolerance: 1e-6)

      let dy = Table(rows: rows, columns: columns, seed: 62)
      let gradient = Operand(dy)
      let old = Table(rows: 1, columns: size, seed: 63)
      let dw = Operand(old)
      compute.rmsNormHeadsWeightGradient(
        gradient.matrix, heads: place, input: saved.base, inverseRMS: inverse.base,
        addingTo: dw.base)
      compute.rmsNormHeadsBackward(
        gradient.matrix, heads: place, weight: weightOperand.base, input: saved.base,
        inverseRMS: inverse.base)
      let dHeads = Self.heads(dy, place)
      expectGradient(Self.heads(gradient.table, place), at: heads, "heads") {
        inner(dHeads, Reference.rmsNorm($0, weight: weight, epsilon: 1e-2).y)
      }
      var added = dw.table
      for column in 0..<size { added[0, column] -= old[0, column] }
      expectGradient(added, at: weight, "weight") {
        inner(dHeads, Reference.rmsNorm(heads, weight: $0, epsilon: 1e-2).y)
      }
      var others = gradient.table
      Self.set(&others, place, dHeads)
      expectClose(Operand(others), dy, tolerance: 1e-9, "channels beside the heads")
    }
  }

  private static func heads(_ rows: Table, _ place: HeadColumns) -> Table {
    var result = Table(rows: rows.rows * place.count, columns: place.size)
    for row in 0..<result.rows {
      for column in 0..<place.size {
        result[row, column] =
          rows[row / place.count, place.offset + row % place.count * place.size + column]
      }
    }
    return result
  }

  private static func set(_ rows: inout Table, _ place: HeadColumns, _ heads: Table) {
    for row in 0..<heads.rows {
      for column in 0..<place.size {
        rows[row / place.count, place.offset + row % place.count * place.size + column] =
          heads[row, column]
      }
    }
  }
}
