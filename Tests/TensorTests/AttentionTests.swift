import Glibc
import Tensor
import Testing

/// Heads and the families of a batch, with some rows in no family.
private struct Case: Sendable {
  var name: String
  var heads: AttentionHeads
  var families: [AttentionFamily]
  var rows: Int
  var window: Int?

  /// One family of a prompt and completions; the first completion follows its prompt directly.
  static func family(from start: Int, prompt: Int, completions: [Int]) -> AttentionFamily {
    var segments = [AttentionSegment(rows: start..<start + prompt + completions[0])]
    var next = start + prompt + completions[0]
    for count in completions.dropFirst() {
      segments.append(
        AttentionSegment(rows: next..<next + count, prefix: start..<start + prompt))
      next += count
    }
    return AttentionFamily(segments: segments)
  }

  static func single(_ lengths: [Int]) -> [AttentionFamily] {
    var start = 0
    return lengths.map { length in
      defer { start += length }
      return AttentionFamily(segments: [AttentionSegment(rows: start..<start + length)])
    }
  }

  static let all = [
    Case(
      name: "one row", heads: AttentionHeads(queryCount: 1, keyValueCount: 1, size: 4),
      families: single([1]), rows: 1),
    Case(
      name: "odd, grouped", heads: AttentionHeads(queryCount: 4, keyValueCount: 2, size: 6),
      families: single([3, 5]), rows: 10),
    Case(
      name: "tiles − 1, tiles, tiles + 1",
      heads: AttentionHeads(queryCount: 2, keyValueCount: 1, size: 8),
      families: single([31, 32, 33, 63, 64, 65]), rows: 288),
    Case(
      name: "several tiles", heads: AttentionHeads(queryCount: 3, keyValueCount: 3, size: 16),
      families: single([150]), rows: 160),
    Case(
      name: "shared prompts", heads: AttentionHeads(queryCount: 4, keyValueCount: 2, size: 8),
      families: [
        family(from: 2, prompt: 5, completions: [3, 4, 1]),
        family(from: 15, prompt: 70, completions: [64, 1, 65]),
        family(from: 215, prompt: 64, completions: [1, 63]),
      ], rows: 350),
    // Up to 256 keys tiles have 32 rows, beyond it 64.
    Case(
      name: "where the tile changes",
      heads: AttentionHeads(queryCount: 2, keyValueCount: 1, size: 4),
      families: [family(from: 0, prompt: 250, completions: [6, 7, 1])] + [
        AttentionFamily(segments: [AttentionSegment(rows: 264..<521)])
      ], rows: 521),
    Case(
      name: "size of the 0.5B", heads: AttentionHeads(queryCount: 6, keyValueCount: 2, size: 64),
      families: [family(from: 0, prompt: 20, completions: [30, 25])], rows: 80),
  ].flatMap { item in
    // A window of the row alone, of a few rows, about a tile, longer than all but the longest.
    [nil, 1, 5, 33, 200].map { window in
      var result = item
      result.window = window
      result.name += window.map { ", window \($0)" } ?? ""
      return result
    }
  }

  var used: [Int] { families.flatMap { $0.segments.flatMap { Array($0.rows) } } }
  var queryColumns: Int { heads.queryCount * heads.size }
}

/// Expects each soft-max's largest score, and from it and the inverse denominator log Σ eˢ.
private func expectNormalizers(
  _ found: Operand, _ reference: Reference.Attention, tolerance: Double, _ what: String = "",
  location: SourceLocation = #_sourceLocation
) {
  #expect(found.isGuardIntact, "\(what): wrote behind the end", sourceLocation: location)
  let table = found.table
  var (largest, logSums) = (reference.largest, reference.logSumExp)
  for head in 0..<found.rows {
    for row in 0..<found.columns / 2 {
      let (shift, inverse) = (table[head, 2 * row], table[head, 2 * row + 1])
      largest[head, row] = shift
      // Where nothing was written both are still 777.
      logSums[head, row] = inverse == 777 ? 777 : shift - log(inverse)
    }
  }
  expectClose(Operand(largest), reference.largest, tolerance: tolerance, what, location: location)
  expectClose(
    Operand(logSums), reference.logSumExp, tolerance: tolerance, what, location: location)
}

@Suite struct AttentionTests {
  @Test(arguments: Setting.all) func forwardIsTheBruteForce(_ setting: Setting) {
    let compute = setting.compute()
    for item in Case.all {
      let fused = Table(rows: item.rows, columns: item.heads.fusedColumns, seed: 70)
      let operand = Operand(fused)
      let output = Operand(rows: item.rows, columns: item.queryColumns)
      let normalizers = Operand(rows: item.heads.queryCount, columns: 2 * item.rows)
      compute.attention(
        operand.operand, heads: item.heads, families: item.families, window: item.window,
        into: output.operand, normalizers: normalizers.base)
      var reference = Reference.attention(
        fused, heads: item.heads, families: item.families, window: item.window)
      let used = Set(item.used)
      for row in 0..<item.rows where !used.contains(row) {
        for column in 0..<item.queryColumns { reference.output[row, column] = 777 }
        for head in 0..<item.heads.queryCount {
          reference.logSumExp[head, row] = 777
          reference.largest[head, row] = 777
        }
      }
      let isFull = used.count == item.rows
      expectClose(output, reference.output, tolerance: isFull ? 2e-6 : 1e-8, item.name)
      expectNormalizers(
        normalizers, reference, tolerance: isFull ? 2e-6 : 1e-8, item.name)
    }
  }

  @Test(arguments: Setting.twoThreads) func backwardAgreesWithFiniteDifferences(_ setting: Setting)
  {
    let compute = setting.compute()
    for item in Case.all {
      let fused = Table(rows: item.rows, columns: item.heads.fusedColumns, seed: 71)
      var dOutput = Table(rows: item.rows, columns: item.queryColumns, seed: 72)
      let used = Set(item.used)
      for row in 0..<item.rows where !used.contains(row) {
        for column in 0..<item.queryColumns { dOutput[row, column] = 0 }
      }
      let (operand, dOperand) = (Operand(fused), Operand(dOutput))
      let output = Operand(rows: item.rows, columns: item.queryColumns, filledWith: 0)
      let normalizers = Operand(
        rows: item.heads.queryCount, columns: 2 * item.rows, filledWith: 0)
      compute.attention(
        operand.operand, heads: item.heads, families: item.families, window: item.window,
        into: output.operand, normalizers: normalizers.base)
      let gradient = Operand(rows: item.rows, columns: item.heads.fusedColumns)
      compute.attentionBackward(
        dOperand.matrix, fused: operand.operand, heads: item.heads, families: item.families,
        window: item.window, normalizers: normalizers.base, into: gradient.matrix)
      #expect(gradient.isGuardIntact)
      var table = gradient.table
      for row in 0..<item.rows where !used.contains(row) {
        let isLeftAlone = Reference.row(table, row).allSatisfy { $0 == 777 }
        #expect(isLeftAlone, "row \(row) is in no family")
        for column in 0..<table.columns { table[row, column] = 0 }
      }
      expectGradient(table, at: fused, item.name) {
        inner(
          dOutput,
          Reference.attention(
            $0, heads: item.heads, families: item.families, window: item.window
          ).output)
      }
    }
  }

  /// A completion behind a shared prompt gets what it gets alone behind its own copy: the same bits
  /// where products are invariant, although its tiles begin elsewhere.
  @Test(arguments: Setting.all, Precision.allCases)
  func sharedPromptEqualsOwnPrompt(_ setting: Setting, _ precision: Precision) {
    let compute = setting.compute()
    let heads = AttentionHeads(queryCount: 4, keyValueCount: 2, size: 8)
    for (prompt, lengths) in [
      (5, [3, 4]), (70, [64, 9]), (64, [64, 128]), (250, [3, 6]), (250, [6, 7]), (250, [60, 7]),
    ] {
      let family = Case.family(from: 0, prompt: prompt, completions: lengths)
      let rows = prompt + lengths[0] + lengths[1]
      let fused = Table(rows: rows, columns: heads.fusedColumns, seed: 73)
      var own = Table(rows: prompt + lengths[1], columns: heads.fusedColumns)
      for row in 0..<own.rows {
        for column in 0..<own.columns {
          own[row, column] = fused[row < prompt ? row : row + lengths[0], column]
        }
      }
      let (shared, alone) = (Operand(fused, precision), Operand(own, precision))
      let sharedOutput = Operand(rows: rows, columns: 32, precision)
      let aloneOutput = Operand(rows: own.rows, columns: 32, precision)
      let normalizers = Operand(rows: 4, columns: 2 * rows)
      compute.attention(
        shared.operand, heads: heads, families: [family], into: sharedOutput.operand,
        normalizers: normalizers.base)
      compute.attention(
        alone.operand, heads: heads, families: Case.single([own.rows]), into: aloneOutput.operand,
        normalizers: normalizers.base)
      let found = Array(sharedOutput.floats[((prompt + lengths[0]) * 32)...])
      let expected = Array(aloneOutput.floats[(prompt * 32)...])
      if setting.usesOneDNN && hasInvariantKernels {
        expectEqual(found, expected)
      } else {
        // In bf16 a last bit of a number up to 4.
        let tolerance: Float = precision == .f32 ? 2e-6 : 0x1p-6
        #expect(zip(found, expected).allSatisfy { abs($0.0 - $0.1) < tolerance })
      }
    }
  }

  /// In bf16 each weight and each output is rounded once: 2⁻⁸ of Σ p |v| and of the output at most.
  @Test(arguments: Setting.twoThreads) func forwardInBF16IsTheBruteForceRounded(_ setting: Setting)
  {
    let compute = setting.compute()
    for item in Case.all {
      let fused = Table(rows: item.rows, columns: item.heads.fusedColumns, seed: 70).rounded(.bf16)
      var sizes = fused
      let firstValue = (item.heads.queryCount + item.heads.keyValueCount) * item.heads.size
      for row in 0..<item.rows {
        for column in firstValue..<fused.columns { sizes[row, column] = abs(sizes[row, column]) }
      }
      let operand = Operand(fused, .bf16)
      let output = Operand(rows: item.rows, columns: item.queryColumns, .bf16)
      let normalizers = Operand(rows: item.heads.queryCount, columns: 2 * item.rows)
      compute.attention(
        operand.operand, heads: item.heads, families: item.families, window: item.window,
        into: output.operand, normalizers: normalizers.base)
      func reference(_ fused: Table) -> Reference.Attention {
        Reference.attention(
          fused, heads: item.heads, families: item.families, window: item.window)
      }
      let (expected, weighted, found) = (
        reference(fused).output, reference(sizes).output, output.table
      )
      #expect(output.isGuardIntact)
      var worst = 0.0
      for row in item.used {
        for column in 0..<item.queryColumns {
          let error = abs(found[row, column] - expected[row, column])
          let bound = 0x1p-8 * (weighted[row, column] + abs(expected[row, column]))
          worst = max(worst, error / (1.02 * bound + 1e-6))
        }
      }
      #expect(worst <= 1, "\(item.name): \(worst) of the bound")
    }
  }

  /// In bf16 the output's gradient, the weights and the scores' gradient are rounded: the gradient of the
  /// same numbers in f32, to less than 2⁻⁸ on the whole.
  @Test(arguments: Setting.twoThreads) func backwardInBF16IsThatOfF32Rounded(_ setting: Setting) {
    let compute = setting.compute()
    for item in Case.all {
      let fused = Table(rows: item.rows, columns: item.heads.fusedColumns, seed: 71).rounded(.bf16)
      var dOutput = Table(rows: item.rows, columns: item.queryColumns, seed: 72)
      let used = Set(item.used)
      for row in 0..<item.rows where !used.contains(row) {
        for column in 0..<item.queryColumns { dOutput[row, column] = 0 }
      }
      let dOperand = Operand(dOutput)
      func gradient(_ precision: Precision) -> Table {
        let operand = Operand(fused, precision)
        let output = Operand(rows: item.rows, columns: item.queryColumns, precision)
        let normalizers = Operand(rows: item.heads.queryCount, columns: 2 * item.rows)
        compute.attention(
          operand.operand, heads: item.heads, families: item.families, window: item.window,
          into: output.operand, normalizers: normalizers.base)
        let result = Operand(rows: item.rows, columns: item.heads.fusedColumns, filledWith: 0)
        compute.attentionBackward(
          dOperand.matrix, fused: operand.operand, heads: item.heads, families: item.families,
          window: item.window, normalizers: normalizers.base, into: result.matrix)
        #expect(result.isGuardIntact)
        return result.table
      }
      let (exact, found) = (gradient(.f32), gradient(.bf16))
      let difference = found.moved(-1, along: exact)
      let error = (inner(difference, difference) / inner(exact, exact)).squareRoot()
      #expect(error < 0x1p-8, "\(item.name): \(error)")
    }
  }

  /// Scores in the hundreds, as a trained model has them, must not overflow.
  @Test func largeScoresStayFinite() {
    let compute = Compute(threadCount: 1)
    let heads = AttentionHeads(queryCount: 2, keyValueCount: 1, size: 8)
    let fused = Table(rows: 20, columns: heads.fusedColumns, seed: 74, deviation: 20)
    let operand = Operand(fused)
    let output = Operand(rows: 20, columns: 16)
    let normalizers = Operand(rows: 2, columns: 40)
    let families = Case.single([20])
    compute.attention(
      operand.operand, heads: heads, families: families, into: output.operand,
      normalizers: normalizers.base)
    let reference = Reference.attention(fused, heads: heads, families: families)
    // A score of 1000 is rounded by 6e-5, which moves a probability as much.
    expectClose(output, reference.output, tolerance: 1e-4)
    expectNormalizers(normalizers, reference, tolerance: 1e-6)
  }
}
