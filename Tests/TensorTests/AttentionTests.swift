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

@Suite struct AttentionTests {
  @Test(arguments: Setting.all) func forwardIsTheBruteForce(_ setting: Setting) {
    let compute = setting.compute()
    for item in Case.all {
      let fused = Table(rows: item.rows, columns: item.heads.fusedColumns, seed: 70)
      let operand = Operand(fused)
      let output = Operand(rows: item.rows, columns: item.queryColumns)
      let logs = Operand(rows: item.heads.queryCount, columns: item.rows)
      compute.attention(
        operand.matrix, heads: item.heads, families: item.families, window: item.window,
        into: output.matrix,
        logSumExp: logs.base)
      var reference = Reference.attention(
        fused, heads: item.heads, families: item.families, window: item.window)
      let used = Set(item.used)
      for row in 0..<item.rows where !used.contains(row) {
        for column in 0..<item.queryColumns { reference.output[row, column] = 777 }
        for head in 0..<item.heads.queryCount { reference.logSumExp[head, row] = 777 }
      }
      let isFull = used.count == item.rows
      expectClose(output, reference.output, tolerance: isFull ? 2e-6 : 1e-8, item.name)
      expectClose(logs, reference.logSumExp, tolerance: isFull ? 2e-6 : 1e-8, item.name)
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
      let logs = Operand(rows: item.heads.queryCount, columns: item.rows, filledWith: 0)
      compute.attention(
        operand.matrix, heads: item.heads, families: item.families, window: item.window,
        into: output.matrix,
        logSumExp: logs.base)
      let gradient = Operand(rows: item.rows, columns: item.heads.fusedColumns)
      compute.attentionBackward(
        dOperand.matrix, output: output.matrix, fused: operand.matrix, heads: item.heads,
        families: item.families, window: item.window, logSumExp: logs.base,
        into: gradient.matrix)
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
  @Test(arguments: Setting.all) func sharedPromptEqualsOwnPrompt(_ setting: Setting) {
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
      let (shared, alone) = (Operand(fused), Operand(own))
      let sharedOutput = Operand(rows: rows, columns: 32)
      let aloneOutput = Operand(rows: own.rows, columns: 32)
      let logs = Operand(rows: 4, columns: rows)
      compute.attention(
        shared.matrix, heads: heads, families: [family], into: sharedOutput.matrix,
        logSumExp: logs.base)
      compute.attention(
        alone.matrix, heads: heads, families: Case.single([own.rows]), into: aloneOutput.matrix,
        logSumExp: logs.base)
      let found = Array(sharedOutput.floats[((prompt + lengths[0]) * 32)...])
      let expected = Array(aloneOutput.floats[(prompt * 32)...])
      if setting.usesOneDNN && hasInvariantKernels {
        expectEqual(found, expected)
      } else {
        #expect(zip(found, expected).allSatisfy { abs($0.0 - $0.1) < 2e-6 })
      }
    }
  }

  /// Scores in the hundreds, as a trained model has them, must not overflow.
  @Test func largeScoresStayFinite() {
    let compute = Compute(threadCount: 1)
    let heads = AttentionHeads(queryCount: 2, keyValueCount: 1, size: 8)
    let fused = Table(rows: 20, columns: heads.fusedColumns, seed: 74, deviation: 20)
    let operand = Operand(fused)
    let output = Operand(rows: 20, columns: 16)
    let logs = Operand(rows: 2, columns: 20)
    let families = Case.single([20])
    compute.attention(
      operand.matrix, heads: heads, families: families, into: output.matrix, logSumExp: logs.base)
    let reference = Reference.attention(fused, heads: heads, families: families)
    // A score of 1000 is rounded by 6e-5, which moves a probability as much.
    expectClose(output, reference.output, tolerance: 1e-4)
    expectClose(logs, reference.logSumExp, tolerance: 1e-6)
  }
}
