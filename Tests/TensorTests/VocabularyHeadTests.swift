import Glibc
import Testing

@testable import Tensor

/// Rows and weights of two heads on one vocabulary, with what the gradient is asked for.
private struct Heads {
  static let tokens = 2 * VocabularySlices.width + 37
  let inputs: Table
  let weights: Table
  let otherInputs: Table
  let otherWeights: Table
  let targets: [Int32]
  let coefficients: [Float]
  let kappas: [Float]
  /// Rows that are not padding.
  let count: Int

  init(
    rows: Int, count: Int? = nil, inner: Int = 12, tokens: Int = Heads.tokens,
    _ precision: Precision = .f32
  ) {
    self.count = count ?? rows
    var inputs = Table(rows: rows, columns: inner, seed: 200).rounded(precision)
    for index in self.count * inner..<inputs.values.count { inputs.values[index] = 0 }
    self.inputs = inputs
    weights = Table(rows: tokens, columns: inner, seed: 201, deviation: 0.7).rounded(precision)
    otherInputs = Table(rows: rows, columns: inner + 3, seed: 202).rounded(precision)
    otherWeights = Table(rows: tokens, columns: inner + 3, seed: 203, deviation: 0.5)
      .rounded(precision)
    let used = self.count
    targets = (0..<rows).map { Int32(($0 * 1367 + tokens - 1) % tokens) }
    coefficients = (0..<rows).map { $0 < used ? Float(($0 * 7 + 3) % 11) / 4 - 1.125 : 0 }
    kappas = (0..<rows).map { $0 < used && $0 % 3 != 1 ? 0.25 + Float($0 % 5) / 2 : 0 }
  }

  /// Σ c log p(target) + Σ κ KL(other ‖ own) in Double.
  func value(inputs: Table, weights: Table, hasPenalty: Bool) -> Double {
    let logits = Reference.linear(inputs, weights)
    let others = hasPenalty ? Reference.linear(otherInputs, otherWeights) : logits
    return (0..<count).reduce(0) { sum, row in
      let line = Reference.row(logits, row)
      let log = line[Int(targets[row])] - Reference.logSumExp(line)
      var value = Double(coefficients[row]) * log
      if hasPenalty, kappas[row] != 0 {
        value +=
          Double(kappas[row])
          * Reference.divergence(of: line, from: Reference.row(others, row))
      }
      return sum + value
    }
  }
}

/// Sums, statistics and gradients of `Heads` on a library.
private final class HeadRun {
  let heads: Heads
  let compute: Compute
  private let operands: [Operand]
  private let precision: Precision

  init(_ heads: Heads, _ compute: Compute, _ precision: Precision = .f32) {
    self.heads = heads
    self.compute = compute
    self.precision = precision
    operands = [heads.inputs, heads.weights, heads.otherInputs, heads.otherWeights].map {
      Operand($0, precision)
    }
  }

  var head: VocabularyHead {
    VocabularyHead(inputs: operands[0].operand, weights: operands[1].operand)
  }
  var other: VocabularyHead {
    VocabularyHead(inputs: operands[2].operand, weights: operands[3].operand)
  }

  func sums(_ rows: Range<Int>? = nil, kept: SlicedLogits? = nil) -> [SoftmaxSums] {
    let rows = rows ?? 0..<heads.inputs.rows
    var head = head
    head.inputs = head.inputs.rows(rows)
    var result = [SoftmaxSums](repeating: SoftmaxSums(), count: rows.count)
    compute.softmaxSums(head, targets: Array(heads.targets[rows]), kept: kept, into: &result)
    return result
  }

  func statistics(_ rows: Range<Int>? = nil) -> [TokenStatistics] {
    sums(rows).map { $0.statistics(count: heads.weights.rows) }
  }

  /// Gradients with `held` slices at once, the weights' added to `start`, zero where it is nil.
  func gradient(
    held: Int? = nil, hasPenalty: Bool = false, trainsWeights: Bool = true,
    from start: Table? = nil
  ) -> (inputs: Operand, weights: Operand) {
    let rows = heads.inputs.rows
    let tokens = heads.weights.rows
    let heldTokens = min(tokens, (held ?? head.slices.count) * VocabularySlices.width)
    let memory = FloatBuffer(count: rows * heldTokens)
    let logits = SlicedLogits(
      base: memory.base, rows: rows, slices: VocabularySlices(tokens: heldTokens))
    let own = sums(kept: logits)
    var others = own
    compute.softmaxSums(other, targets: heads.targets, kept: nil, into: &others)
    let dInputs = Operand(rows: rows, columns: heads.inputs.columns)
    let dWeights = Operand(
      start ?? Table(rows: tokens, columns: heads.inputs.columns).filled(0))
    others.withUnsafeBufferPointer { others in
      guard let base = others.baseAddress else { return }
      let reference = ReferenceHead(head: other, sums: base, coefficients: heads.kappas)
      compute.headGradient(
        head, sums: own, targets: heads.targets, coefficients: heads.coefficients,
        reference: hasPenalty ? reference : nil, logits: logits, into: dInputs.matrix,
        addingTo: trainsWeights ? dWeights.matrix : nil)
    }
    #expect(dInputs.isGuardIntact && dWeights.isGuardIntact)
    return (dInputs, dWeights)
  }
}

private func numbers(_ statistics: [TokenStatistics]) -> [UInt64] {
  statistics.flatMap {
    [$0.logProbability, $0.entropy, $0.meanLogit, $0.isMostLikely ? 1 : 0].map(\.bitPattern)
  }
}

@Suite struct VocabularyHeadTests {
  @Test func slicesAreTheVocabulary() {
    for tokens in [1, 2047, 2048, 2049, 5000, 4096] {
      let slices = VocabularySlices(tokens: tokens)
      expectEqual((0..<slices.count).flatMap { Array(slices[$0]) }, Array(0..<tokens))
    }
  }

  /// Products in either precision have f32 sums: bf16 operands are exact in Double.
  @Test(arguments: Setting.all, Precision.allCases)
  func statisticsAreTheDefinitions(_ setting: Setting, _ precision: Precision) {
    let heads = Heads(rows: 300, precision)
    let found = HeadRun(heads, setting.compute(), precision).statistics()
    let logits = Reference.linear(heads.inputs, heads.weights)
    for row in stride(from: 0, to: 300, by: 7) {
      let line = Reference.row(logits, row)
      let logSum = Reference.logSumExp(line)
      let target = Int(heads.targets[row])
      #expect(abs(found[row].logProbability - (line[target] - logSum)) < 5e-6)
      let entropy = line.reduce(0) { $0 - exp($1 - logSum) * ($1 - logSum) }
      #expect(abs(found[row].entropy - entropy) < 1e-5)
      #expect(abs(found[row].meanLogit - line.reduce(0, +) / Double(line.count)) < 2e-6)
      #expect(found[row].isMostLikely == (line[target] == line.max()))
    }
  }

  /// What is kept are the logits, slice by slice, and keeping them changes no sum.
  @Test(arguments: Setting.twoThreads, Precision.allCases)
  func keptLogitsAreTheProducts(_ setting: Setting, _ precision: Precision) {
    let heads = Heads(rows: 270, precision)
    let run = HeadRun(heads, setting.compute(), precision)
    let memory = FloatBuffer(count: 270 * Heads.tokens)
    let kept = SlicedLogits(base: memory.base, rows: 270, slices: run.head.slices)
    let sums = run.sums(kept: kept)
    expectEqual(
      numbers(sums.map { $0.statistics(count: Heads.tokens) }), numbers(run.statistics()))
    let expected = Reference.linear(heads.inputs, heads.weights)
    for slice in 0..<kept.slices.count {
      let tokens = kept.slices[slice]
      let matrix = kept.slice(slice)
      var worst = 0.0
      for row in 0..<270 {
        for (index, token) in tokens.enumerated() {
          worst = max(worst, abs(Double(matrix.row(row)[index]) - expected[row, token]))
        }
      }
      #expect(worst < 2e-5, "slice \(slice)")
    }
  }

  @Test(
    .enabled(if: hasInvariantKernels, "only where products are invariant"),
    arguments: Precision.allCases)
  func aRowAloneHasTheBitsOfABatch(_ precision: Precision) {
    for inner in [8, 12, 64] {
      let heads = Heads(rows: 300, inner: inner, precision)
      let run = HeadRun(heads, Compute(threadCount: 2), precision)
      let all = numbers(run.statistics())
      for rows in [0..<1, 7..<8, 255..<258, 299..<300, 20..<84] {
        expectEqual(
          numbers(run.statistics(rows)), Array(all[4 * rows.lowerBound..<4 * rows.upperBound]),
          "\(rows), \(inner) wide")
      }
    }
  }

  @Test(arguments: Setting.twoThreads, [false, true])
  func gradientAgreesWithFiniteDifferences(_ setting: Setting, hasPenalty: Bool) {
    let heads = Heads(rows: 32, count: 20)
    let found = HeadRun(heads, setting.compute()).gradient(hasPenalty: hasPenalty)
    expectGradient(found.weights.table, at: heads.weights, "weights") {
      heads.value(inputs: heads.inputs, weights: $0, hasPenalty: hasPenalty)
    }
    var inputs = found.inputs.table
    // Padding has no gradient, and gives none.
    for index in 20 * 12..<32 * 12 {
      #expect(inputs.values[index] == 0)
      inputs.values[index] = 0
    }
    expectGradient(inputs, at: heads.inputs, "inputs") {
      heads.value(inputs: $0, weights: heads.weights, hasPenalty: hasPenalty)
    }
  }

  /// All slices' logits kept, and those beyond the first or the second computed again: the same bits.
  @Test(arguments: Setting.all, Precision.allCases)
  func fewerSlicesAtOnceChangeNoBit(_ setting: Setting, _ precision: Precision) {
    let heads = Heads(rows: 288, count: 280, precision)
    let run = HeadRun(heads, setting.compute(), precision)
    for hasPenalty in [false, true] {
      let kept = run.gradient(hasPenalty: hasPenalty)
      for held in [1, 2] {
        let found = run.gradient(held: held, hasPenalty: hasPenalty)
        expectEqual(found.inputs.bits, kept.inputs.bits, "inputs, \(held)")
        expectEqual(found.weights.bits, kept.weights.bits, "weights, \(held)")
      }
    }
  }

  /// The ordered sum over groups: the weights' gradient is finished, then added once.
  @Test(arguments: Setting.all, Precision.allCases)
  func weightsGradientIsAddedOnce(_ setting: Setting, _ precision: Precision) {
    let heads = Heads(rows: 96, count: 70, precision)
    let run = HeadRun(heads, setting.compute(), precision)
    let old = Table(rows: Heads.tokens, columns: 12, seed: 210, deviation: 5)
    let alone = run.gradient(hasPenalty: true)
    for held in [1, 3] {
      let added = run.gradient(held: held, hasPenalty: true, from: old)
      let sums = zip(old.values, alone.weights.floats).map { (Float($0) + $1).bitPattern }
      expectEqual(added.weights.bits, sums, "\(held) slices")
    }
    let frozen = run.gradient(hasPenalty: true, trainsWeights: false)
    expectEqual(frozen.inputs.bits, alone.inputs.bits, "inputs of a frozen head")
    #expect(frozen.weights.floats.allSatisfy { $0 == 0 })
  }

  /// In bf16 the logits' gradient is rounded once: each number by 2⁻⁸ at most, all of them by less.
  @Test(arguments: Setting.twoThreads, [false, true])
  func gradientInBF16IsThatOfF32Rounded(_ setting: Setting, hasPenalty: Bool) {
    let heads = Heads(rows: 64, count: 60, .bf16)
    let compute = setting.compute()
    let exact = HeadRun(heads, compute).gradient(hasPenalty: hasPenalty)
    let found = HeadRun(heads, compute, .bf16).gradient(hasPenalty: hasPenalty)
    for (found, exact) in [(found.inputs, exact.inputs), (found.weights, exact.weights)] {
      let difference = found.table.moved(-1, along: exact.table)
      let error = (inner(difference, difference) / inner(exact.table, exact.table)).squareRoot()
      #expect(error < 0x1p-9 && error > 0, "relative error \(error)")
    }
  }

  /// Divergences with the logits kept, kept in part and computed again are the same numbers, in either
  /// precision.
  @Test(arguments: Setting.twoThreads, Precision.allCases)
  func divergencesAreTheDefinitions(_ setting: Setting, _ precision: Precision) {
    let heads = Heads(rows: 288, precision)
    let run = HeadRun(heads, setting.compute(), precision)
    let memory = FloatBuffer(count: 288 * Heads.tokens)
    let kept = SlicedLogits(base: memory.base, rows: 288, slices: run.head.slices)
    let own = run.sums(kept: kept)
    var others = own
    run.compute.softmaxSums(run.other, targets: heads.targets, kept: nil, into: &others)
    let part = SlicedLogits(
      base: memory.base, rows: 288, slices: VocabularySlices(tokens: VocabularySlices.width))
    let found = others.withUnsafeBufferPointer { others -> [[Double]] in
      guard let base = others.baseAddress else { return [] }
      let reference = ReferenceHead(head: run.other, sums: base, coefficients: heads.kappas)
      return [kept, part, nil].map {
        run.compute.divergences(run.head, sums: own, kept: $0, reference: reference)
      }
    }
    let first = found[0]
    for other in found { expectEqual(other.map(\.bitPattern), first.map(\.bitPattern)) }
    let (logits, reference) = (
      Reference.linear(heads.inputs, heads.weights),
      Reference.linear(heads.otherInputs, heads.otherWeights)
    )
    for row in stride(from: 0, to: 288, by: 11) {
      let expected = Reference.divergence(
        of: Reference.row(logits, row), from: Reference.row(reference, row))
      let wanted = heads.kappas[row] == 0 ? 0 : expected
      #expect(abs(first[row] - wanted) <= 2e-6 * max(1, wanted), "row \(row)")
    }
  }
}
