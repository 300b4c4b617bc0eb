import Testing

@testable import Tensor

/// Rows, inner and outer width of a linear layer.
private struct Shape: Sendable {
  var rows: Int
  var inner: Int
  var outer: Int

  // 1, odd, vector width ± 1, tile ± 1, then layers of small models.
  static let all = [
    Shape(rows: 1, inner: 1, outer: 1), Shape(rows: 3, inner: 5, outer: 7),
    Shape(rows: 7, inner: 9, outer: 8), Shape(rows: 8, inner: 7, outer: 9),
    Shape(rows: 9, inner: 8, outer: 7), Shape(rows: 63, inner: 65, outer: 64),
    Shape(rows: 64, inner: 63, outer: 65), Shape(rows: 65, inner: 64, outer: 63),
    Shape(rows: 1, inner: 128, outer: 384), Shape(rows: 17, inner: 16, outer: 37),
    Shape(rows: 160, inner: 96, outer: 256), Shape(rows: 129, inner: 48, outer: 40),
    Shape(rows: 0, inner: 16, outer: 16),
  ]
}

@Suite struct LinearTests {
  @Test(arguments: Setting.all, Precision.allCases)
  func forwardIsTheProduct(_ setting: Setting, _ precision: Precision) {
    let compute = setting.compute()
    for shape in Shape.all {
      let x = Table(rows: shape.rows, columns: shape.inner, seed: 1).rounded(precision)
      let w = Table(rows: shape.outer, columns: shape.inner, seed: 2).rounded(precision)
      let y = Operand(rows: shape.rows, columns: shape.outer)
      let (xOperand, wOperand) = (Operand(x, precision), Operand(w, precision))
      compute.linear(xOperand.operand, wOperand.operand, into: y.operand)
      expectClose(y, Reference.linear(x, w), "\(shape)")
      // A result in bf16 is this one, rounded once.
      let rounded = Operand(rows: shape.rows, columns: shape.outer, .bf16)
      compute.linear(xOperand.operand, wOperand.operand, into: rounded.operand)
      expectEqual(rounded.floats, y.floats.map { widened(nearestBF16($0)) }, "\(shape)")
      #expect(rounded.isGuardIntact)
    }
  }

  @Test(arguments: Setting.all, Precision.allCases)
  func inputGradientIsTheProduct(_ setting: Setting, _ precision: Precision) {
    let compute = setting.compute()
    for shape in Shape.all {
      let dy = Table(rows: shape.rows, columns: shape.outer, seed: 3).rounded(precision)
      let w = Table(rows: shape.outer, columns: shape.inner, seed: 4).rounded(precision)
      let old = Table(rows: shape.rows, columns: shape.inner, seed: 5)
      let overwritten = Operand(rows: shape.rows, columns: shape.inner)
      let added = Operand(old)
      let (dyOperand, wOperand) = (Operand(dy, precision), Operand(w, precision))
      compute.linearInputGradient(dyOperand.operand, wOperand.operand, into: overwritten.operand)
      compute.linearInputGradient(
        dyOperand.operand, wOperand.operand, into: added.operand, accumulates: true)
      let reference = Reference.inputGradient(dy, w)
      expectClose(overwritten, reference, "\(shape)")
      expectClose(added, sum(old, reference), "\(shape), added")
      let rounded = Operand(rows: shape.rows, columns: shape.inner, .bf16)
      compute.linearInputGradient(dyOperand.operand, wOperand.operand, into: rounded.operand)
      expectEqual(
        rounded.floats, overwritten.floats.map { widened(nearestBF16($0)) }, "\(shape)")
    }
  }

  @Test(arguments: Setting.all, Precision.allCases)
  func weightGradientIsAddedOnce(_ setting: Setting, _ precision: Precision) {
    let compute = setting.compute()
    for shape in Shape.all {
      let rows = (shape.rows + 31) / 32 * 32
      let dy = Table(rows: rows, columns: shape.outer, seed: 6).rounded(precision)
      let x = Table(rows: rows, columns: shape.inner, seed: 7).rounded(precision)
      let old = Table(rows: shape.outer, columns: shape.inner, seed: 8)
      let dw = Operand(old)
      let product = Operand(rows: shape.outer, columns: shape.inner, filledWith: .nan)
      let (dyOperand, xOperand) = (Operand(dy, precision), Operand(x, precision))
      compute.linearWeightGradient(dyOperand.operand, xOperand.operand, addingTo: dw.matrix)
      compute.linearWeightGradient(
        dyOperand.operand, xOperand.operand, addingTo: product.matrix, startsAtZero: true)
      expectClose(dw, sum(old, Reference.weightGradient(dy, x)), "\(shape)")
      let sums = zip(old.values, product.floats).map { (Float($0) + $1).bitPattern }
      expectEqual(dw.bits, sums, "\(shape): not the product, then one addition")
    }
  }

  /// The ordered sum over groups rests on this: acc ← acc + group's sum, in every bit.
  @Test(arguments: Setting.all, Precision.allCases)
  func weightGradientIsProductThenAdditionAtRealSizes(
    _ setting: Setting, _ precision: Precision
  ) {
    let compute = setting.compute()
    for (rows, outer, inner) in [
      (32, 1024, 1024), (96, 2816, 128), (512, 256, 320), (1024, 64, 64), (4096, 16, 16),
      (4096, 96, 48), (256, 37, 16), (2048, 8, 8),
    ] {
      let dy = Operand(Table(rows: rows, columns: outer, seed: 61), precision)
      let x = Operand(Table(rows: rows, columns: inner, seed: 62), precision)
      let old = Table(rows: outer, columns: inner, seed: 63, deviation: 30)
      let dw = Operand(old)
      let product = Operand(rows: outer, columns: inner, filledWith: .nan)
      compute.linearWeightGradient(dy.operand, x.operand, addingTo: dw.matrix)
      compute.linearWeightGradient(
        dy.operand, x.operand, addingTo: product.matrix, startsAtZero: true)
      let sums = zip(old.values, product.floats).map { (Float($0) + $1).bitPattern }
      expectEqual(dw.bits, sums, "\(rows) rows, \(outer) × \(inner)")
    }
  }

  /// Rows of zeros behind the last token must not change a weight gradient.
  @Test(arguments: Setting.all, Precision.allCases)
  func zeroRowsChangeNoBitOfAWeightGradient(_ setting: Setting, _ precision: Precision) {
    let compute = setting.compute()
    for (rows, outer, inner) in [(32, 48, 16), (96, 37, 24), (128, 64, 128)] {
      var dy = Table(rows: rows + 64, columns: outer, seed: 64)
      for index in rows * outer..<dy.values.count { dy.values[index] = 0 }
      let x = Table(rows: rows + 64, columns: inner, seed: 65)
      let (dyOperand, xOperand) = (Operand(dy, precision), Operand(x, precision))
      let short = Operand(rows: outer, columns: inner, filledWith: 0)
      let long = Operand(rows: outer, columns: inner, filledWith: 0)
      compute.linearWeightGradient(
        dyOperand.operand.rows(0..<rows), xOperand.operand.rows(0..<rows), addingTo: short.matrix)
      compute.linearWeightGradient(dyOperand.operand, xOperand.operand, addingTo: long.matrix)
      if setting.usesOneDNN && hasInvariantKernels {
        expectEqual(short.bits, long.bits, "\(rows) rows, \(outer) × \(inner)")
      } else {
        expectClose(long, short.table)
      }
    }
  }

  @Test(arguments: Setting.twoThreads, Precision.allCases)
  func gradientsAgreeWithFiniteDifferences(_ setting: Setting, _ precision: Precision) {
    let compute = setting.compute()
    let x = Table(rows: 32, columns: 24, seed: 10).rounded(precision)
    let w = Table(rows: 40, columns: 24, seed: 11).rounded(precision)
    let c = Table(rows: 32, columns: 40, seed: 12).rounded(precision)
    let dx = Operand(rows: 32, columns: 24)
    let dw = Operand(rows: 40, columns: 24, filledWith: 0)
    let (xOperand, wOperand, cOperand) = (
      Operand(x, precision), Operand(w, precision), Operand(c, precision)
    )
    compute.linearInputGradient(cOperand.operand, wOperand.operand, into: dx.operand)
    compute.linearWeightGradient(cOperand.operand, xOperand.operand, addingTo: dw.matrix)
    expectGradient(dx.table, at: x) { inner(c, Reference.linear($0, w)) }
    expectGradient(dw.table, at: w) { inner(c, Reference.linear(x, $0)) }
  }

  @Test(arguments: Setting.all) func biasIsAddedToEveryRowAndItsGradientOnce(
    _ setting: Setting
  ) {
    let compute = setting.compute()
    for (rows, columns) in [(1, 1), (3, 7), (8, 9), (65, 8), (33, 63), (64, 65), (5, 200)] {
      let y = Table(rows: rows, columns: columns, seed: 13)
      let bias = Table(rows: 1, columns: columns, seed: 14)
      var expected = y
      for row in 0..<rows {
        for column in 0..<columns { expected[row, column] += bias[0, column] }
      }
      let (result, biasOperand) = (Operand(y), Operand(bias))
      compute.addBias(result.matrix, biasOperand.base)
      expectClose(result, expected, tolerance: 1e-7)

      let gradient = Operand(bias)
      let dy = Operand(y)
      compute.biasGradient(dy.operand, addingTo: gradient.base)
      expectClose(gradient, sum(bias, Reference.sumOfRows(y)))
      let alone = Operand(rows: 1, columns: columns, filledWith: 0)
      compute.biasGradient(dy.operand, addingTo: alone.base)
      let sums = zip(biasOperand.floats, alone.floats).map { ($0 + $1).bitPattern }
      expectEqual(gradient.bits, sums, "the sum must be finished before it is added")
    }
  }
}
