import Glibc
import Tensor
import Testing

private let columnCounts = [1, 7, 8, 9, 2047, 2048, 2049, 5000]

/// Rows of logits of two models, a coefficient for each: κ is 0 in the second row.
private struct Rows {
  let logits: Table
  let reference: Table
  let coefficients: [Float]
  let targets: [Int32]
  let kappas: [Float]

  init(columns: Int, deviation: Double = 2) {
    logits = Table(rows: 4, columns: columns, seed: 160, deviation: deviation)
    reference = Table(rows: 4, columns: columns, seed: 161, deviation: deviation)
    coefficients = [0.75, -1.25, 0, 0.5]
    targets = (0..<4).map { Int32(($0 * 5 + columns - 1) % columns) }
    kappas = [0.5, 0, 2, 1.25]
  }

  /// Σ c log p(target) + κ KL(softmax(r) ‖ softmax(l)).
  func value(_ logits: Table) -> Double {
    (0..<logits.rows).reduce(0) { sum, row in
      let line = Reference.row(logits, row)
      let log = line[Int(targets[row])] - Reference.logSumExp(line)
      let divergence = Reference.divergence(of: line, from: Reference.row(reference, row))
      return sum + Double(coefficients[row]) * log + Double(kappas[row]) * divergence
    }
  }
}

extension Reference {
  /// KL(softmax(reference) ‖ softmax(logits)), term by term.
  static func divergence(of logits: [Double], from reference: [Double]) -> Double {
    let (logSum, referenceLogSum) = (logSumExp(logits), logSumExp(reference))
    return zip(logits, reference).reduce(0) { sum, pair in
      let log = pair.1 - referenceLogSum
      return sum + exp(log) * (log - (pair.0 - logSum))
    }
  }
}

@Suite struct DivergenceTests {
  @Test(arguments: Setting.twoThreads) func divergencesAreTheFormulas(_ setting: Setting) {
    let compute = setting.compute()
    for columns in columnCounts {
      let rows = Rows(columns: columns)
      let (logits, reference) = (TableHead(rows.logits), TableHead(rows.reference))
      let found = logits.divergences(compute, from: reference, coefficients: rows.kappas)
      for row in 0..<4 {
        let expected = Reference.divergence(
          of: Reference.row(rows.logits, row), from: Reference.row(rows.reference, row))
        if rows.kappas[row] == 0 {
          #expect(found[row] == 0, "left out")
        } else {
          #expect(abs(found[row] - expected) <= 1e-6 * max(1, expected), "\(columns) columns")
          #expect(columns == 1 ? found[row] == 0 : expected > 0.1)
        }
      }
      #expect(logits.logits.values == rows.logits.values, "logits are read only")
      #expect(reference.logits.values == rows.reference.values, "the reference is read only")
    }
  }

  @Test func equalRowsGiveZero() {
    let compute = Compute(threadCount: 1)
    for columns in columnCounts {
      for deviation in [1.0, 30] {
        let rows = TableHead(Table(rows: 3, columns: columns, seed: 162, deviation: deviation))
        #expect(
          rows.divergences(compute, from: rows, coefficients: [1, 1, 1]) == [0, 0, 0])
      }
    }
    // Only differences of logits count: a row shifted as a whole is the same distribution.
    let row = Table(rows: 1, columns: 9, seed: 163)
    var shifted = row
    for column in 0..<9 { shifted[0, column] = row[0, column].rounded() + 8 }
    var plain = shifted
    for column in 0..<9 { plain[0, column] -= 8 }
    let (head, other) = (TableHead(plain), TableHead(shifted))
    #expect(head.divergences(compute, from: other, coefficients: [1]) == [0])
  }

  /// Logits from −80 to 80: shares down to e⁻¹⁶⁰, divergences up to 160.
  @Test func extremeLogitsNeitherOverflowNorVanish() {
    let compute = Compute(threadCount: 1)
    for columns in [2, 8, 2049] {
      var logits = Table(rows: 3, columns: columns).filled(-80)
      var reference = logits
      logits[0, 0] = 80
      reference[0, columns - 1] = 80
      logits[1, 0] = 80
      reference[1, 0] = 80
      for column in 0..<columns { reference[2, column] = column % 2 == 0 ? 80 : -80 }
      let (head, other) = (TableHead(logits), TableHead(reference))
      let found = head.divergences(compute, from: other, coefficients: [1, 1, 1])
      for row in 0..<3 {
        let expected = Reference.divergence(
          of: Reference.row(logits, row), from: Reference.row(reference, row))
        #expect(abs(found[row] - expected) <= 1e-6 * max(1, expected), "\(columns), row \(row)")
      }
      #expect(found[0] > 159 && found[1] == 0 && found[2] >= 0)
    }
  }

  @Test(arguments: Setting.twoThreads) func backwardIsTheFormula(_ setting: Setting) {
    let compute = setting.compute()
    for columns in columnCounts {
      for deviation in [2.0, 30] {
        let rows = Rows(columns: columns, deviation: deviation)
        let (head, reference) = (TableHead(rows.logits), TableHead(rows.reference))
        let gradient = head.gradient(
          compute, targets: rows.targets, coefficients: rows.coefficients,
          reference: (reference, rows.kappas))
        var expected = rows.logits
        for row in 0..<4 {
          let line = Reference.row(rows.logits, row)
          let other = Reference.row(rows.reference, row)
          let (c, kappa) = (Double(rows.coefficients[row]), Double(rows.kappas[row]))
          let (sum, otherSum) = (Reference.logSumExp(line), Reference.logSumExp(other))
          for column in 0..<columns {
            let (p, r) = (exp(line[column] - sum), exp(other[column] - otherSum))
            let hit = column == Int(rows.targets[row]) ? 1.0 : 0
            expected[row, column] = c * (hit - p) + kappa * (p - r)
          }
        }
        expectClose(Operand(gradient), expected, tolerance: 1e-6, "\(columns) columns")
        #expect(reference.logits.values == rows.reference.values, "the reference is read only")
      }
    }
  }

  /// What is not to be looked at may be anything.
  @Test func aRowWithoutCoefficientIgnoresTheReference() {
    let compute = Compute(threadCount: 1)
    let logits = Table(rows: 2, columns: 300, seed: 164)
    let (head, nothing) = (TableHead(logits), TableHead(logits.filled(.nan)))
    #expect(head.divergences(compute, from: nothing, coefficients: [0, 0]) == [0, 0])
    let both = head.gradient(
      compute, targets: [4, 299], coefficients: [0.5, -2], reference: (nothing, [0, 0]))
    let plain = head.gradient(compute, targets: [4, 299], coefficients: [0.5, -2])
    expectEqual(both.values, plain.values, "the same as without a penalty")
    #expect(nothing.logits.values.allSatisfy { $0.isNaN })
  }

  @Test(arguments: Setting.twoThreads) func backwardAgreesWithFiniteDifferences(_ setting: Setting)
  {
    let compute = setting.compute()
    for columns in columnCounts where columns > 1 {
      let rows = Rows(columns: columns)
      let (head, reference) = (TableHead(rows.logits), TableHead(rows.reference))
      let gradient = head.gradient(
        compute, targets: rows.targets, coefficients: rows.coefficients,
        reference: (reference, rows.kappas))
      expectGradient(gradient, at: rows.logits, "\(columns) columns", of: rows.value)
    }
  }
}
