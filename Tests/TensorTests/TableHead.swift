@testable import Tensor

/// A head whose logits are a table's, exactly.
///
/// Row m of the inputs is the m-th unit vector, column m of the weights the m-th row of logits; the
/// gradient of the weights then is that of the logits.
///
/// Keep it in a constant: it owns what its `head` reads.
final class TableHead {
  let rows: Int
  /// Rows with padding to a multiple of 32.
  let paddedRows: Int
  let tokens: Int
  private let inputs: Operand
  private let weights: Operand

  init(_ logits: Table, _ precision: Precision = .f32) {
    rows = logits.rows
    tokens = logits.columns
    paddedRows = (rows + 31) / 32 * 32
    var units = Table(rows: paddedRows, columns: rows)
    var columns = Table(rows: tokens, columns: rows)
    for row in 0..<rows {
      units[row, row] = 1
      for token in 0..<tokens { columns[token, row] = logits[row, token] }
    }
    inputs = Operand(units, precision)
    weights = Operand(columns, precision)
  }

  var head: VocabularyHead { VocabularyHead(inputs: inputs.operand, weights: weights.operand) }

  /// The weights' numbers as logits again.
  var logits: Table { TableHead.transposed(weights.table) }

  /// Sums over every row, padding included; targets of padding are token 0.
  func sums(
    _ compute: Compute, targets: [Int32], kept: SlicedLogits? = nil
  ) -> [SoftmaxSums] {
    let padded = targets + [Int32](repeating: 0, count: paddedRows - targets.count)
    return [SoftmaxSums](unsafeUninitializedCapacity: paddedRows) { buffer, count in
      if let base = buffer.baseAddress {
        compute.softmaxSums(head, targets: padded, kept: kept, into: base)
      }
      count = paddedRows
    }
  }

  /// KL from a reference's rows, one for each row.
  func divergences(
    _ compute: Compute, from reference: TableHead, coefficients: [Float],
    kept: SlicedLogits? = nil
  ) -> [Double] {
    let none = [Int32](repeating: 0, count: rows)
    let own = sums(compute, targets: none, kept: kept)
    return reference.withReference(compute, coefficients) {
      Array(
        compute.divergences(head, sums: own, kept: kept, reference: $0).prefix(rows))
    }
  }

  func withReference<Result>(
    _ compute: Compute, _ coefficients: [Float], _ body: (ReferenceHead) -> Result
  ) -> Result {
    let padding = [Float](repeating: 0, count: paddedRows - coefficients.count)
    let sums = sums(compute, targets: [Int32](repeating: 0, count: rows))
    return sums.withUnsafeBufferPointer {
      guard let base = $0.baseAddress else { preconditionFailure("no rows") }
      return body(ReferenceHead(head: head, sums: base, coefficients: coefficients + padding))
    }
  }

  /// Gradient by the logits of Σ c log p(target) + Σ κ KL(reference ‖ ·), as the weights' gradient.
  ///
  /// `heldSlices` of the vocabulary are held at once, nil for all of them.
  func gradient(
    _ compute: Compute, targets: [Int32], coefficients: [Float],
    reference: (head: TableHead, coefficients: [Float])? = nil, heldSlices: Int? = nil
  ) -> Table {
    let all = VocabularySlices(tokens: tokens)
    let held = min(tokens, (heldSlices ?? all.count) * VocabularySlices.width)
    let memory = FloatBuffer(count: paddedRows * held)
    let logits = SlicedLogits(
      base: memory.base, rows: paddedRows, slices: VocabularySlices(tokens: held))
    let sums = sums(compute, targets: targets, kept: logits)
    let dInputs = Operand(rows: paddedRows, columns: rows)
    let dWeights = Operand(rows: tokens, columns: rows, filledWith: 0)
    func run(_ reference: ReferenceHead?) {
      compute.headGradient(
        head, sums: sums,
        targets: targets + [Int32](repeating: 0, count: paddedRows - rows),
        coefficients: coefficients + [Float](repeating: 0, count: paddedRows - rows),
        reference: reference, logits: logits, into: dInputs.matrix, addingTo: dWeights.matrix)
    }
    if let reference {
      reference.head.withReference(compute, reference.coefficients) { run($0) }
    } else {
      run(nil)
    }
    precondition(dInputs.isGuardIntact && dWeights.isGuardIntact)
    return TableHead.transposed(dWeights.table)
  }

  private static func transposed(_ table: Table) -> Table {
    var result = Table(rows: table.columns, columns: table.rows)
    for row in 0..<table.rows {
      for column in 0..<table.columns { result[column, row] = table[row, column] }
    }
    return result
  }
}

/// A table as sliced logits, with the sums that the head would have collected over each row.
final class TableLogits {
  let logits: SlicedLogits
  let sums: [SoftmaxSums]
  private let memory: FloatBuffer

  init(_ table: Table) {
    memory = FloatBuffer(count: table.rows * table.columns)
    let logits = SlicedLogits(
      base: memory.base, rows: table.rows, slices: VocabularySlices(tokens: table.columns))
    let scratch = FloatBuffer(count: VocabularySlices.width)
    var all: [SoftmaxSums] = []
    for row in 0..<table.rows {
      var whole: SoftmaxSums?
      for slice in 0..<logits.slices.count {
        let tokens = logits.slices[slice]
        let line = logits.slice(slice).row(row)
        for (index, token) in tokens.enumerated() { line[index] = Float(table[row, token]) }
        let part = SoftmaxSums(line, count: tokens.count, target: -1, scratch: scratch.base)
        whole?.add(part, holdsTarget: false)
        whole = whole ?? part
      }
      all.append(whole ?? SoftmaxSums())
    }
    self.logits = logits
    sums = all
  }

  func sample(_ compute: Compute, _ rule: SamplingRule, _ uniforms: [Double]) -> [SampledToken] {
    withExtendedLifetime(self) {
      compute.sample(logits, sums: sums, rule: rule, uniforms: uniforms)
    }
  }
}
