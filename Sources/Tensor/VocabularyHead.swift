// The vocabulary projection and its soft-max, slice by slice of the vocabulary: a slice of the weights
// is multiplied, summed up and forgotten, so that no T × V matrix is needed, and the whole gradient of
// a slice's weights is one product.

/// The slices that a vocabulary is cut into.
public struct VocabularySlices: Sendable {
  /// Tokens of the vocabulary.
  public let tokens: Int

  /// Tokens of a slice; the last may have fewer.
  ///
  /// A constant, so that sums keep their order.
  public static let width = 2048

  /// The slices of a vocabulary.
  public init(tokens: Int) { self.tokens = tokens }

  /// Number of slices.
  public var count: Int { (tokens + Self.width - 1) / Self.width }

  /// The tokens of a slice.
  public subscript(slice: Int) -> Range<Int> {
    slice * Self.width..<min(tokens, (slice + 1) * Self.width)
  }
}

/// Logits of a vocabulary's first slices, slice after slice, each dense (M, its tokens).
public struct SlicedLogits: @unchecked Sendable {
  /// First float; M · the slices' tokens of them.
  public let base: UnsafeMutablePointer<Float>
  /// M.
  public let rows: Int
  /// The slices that are here: of the whole vocabulary or of its first tokens, in whole slices.
  public let slices: VocabularySlices

  /// Logits at `base`.
  public init(base: UnsafeMutablePointer<Float>, rows: Int, slices: VocabularySlices) {
    self.base = base
    self.rows = rows
    self.slices = slices
  }

  /// One slice's logits (M, its tokens), nil if the slice isn't here.
  func sliceIfHere(_ index: Int) -> Matrix? { index < slices.count ? slice(index) : nil }

  /// One slice's logits (M, its tokens).
  public func slice(_ index: Int) -> Matrix {
    let range = slices[index]
    return Matrix(base: base + range.lowerBound * rows, rows: rows, columns: range.count)
  }
}

/// Rows that a head reads and its weights.
public struct VocabularyHead: Sendable {
  /// Normed rows (M, C).
  public var inputs: OperandMatrix
  /// Weights (V, C), of the type of the inputs.
  public var weights: OperandMatrix

  /// A head from its parts.
  public init(inputs: OperandMatrix, weights: OperandMatrix) {
    precondition(inputs.columns == weights.columns && inputs.precision == weights.precision)
    self.inputs = inputs
    self.weights = weights
  }

  /// Slices of the vocabulary.
  public var slices: VocabularySlices { VocabularySlices(tokens: weights.rows) }
}

/// A frozen head at the same rows, from which a divergence is measured.
public struct ReferenceHead: @unchecked Sendable {
  /// Its rows and weights.
  public var head: VocabularyHead
  /// Sums over its rows' logits (M).
  public var sums: UnsafePointer<SoftmaxSums>
  /// κ of each row (M); a row whose κ is 0 is left out.
  public var coefficients: [Float]

  /// A reference from its parts.
  public init(
    head: VocabularyHead, sums: UnsafePointer<SoftmaxSums>, coefficients: [Float]
  ) {
    self.head = head
    self.sums = sums
    self.coefficients = coefficients
  }
}

// Rows multiplied together; a constant, since OpenBLAS's bits depend on it.
private let rowBlock = 256

extension Compute {
  /// Sums over every row's logits under the soft-max.
  ///
  /// - Parameters:
  ///   - head: rows (M, C) and weights.
  ///   - targets: M token ids in 0..<V.
  ///   - kept: where the logits of its slices stay; the others', and all if nil, are forgotten.
  ///   - sums: M entries, overwritten.
  public func softmaxSums(
    _ head: VocabularyHead, targets: [Int32], kept: SlicedLogits?,
    into sums: UnsafeMutablePointer<SoftmaxSums>
  ) {
    let rows = head.inputs.rows
    precondition(targets.count == rows)
    let slices = head.slices
    let blocks = (rows + rowBlock - 1) / rowBlock
    let parts = UnsafeMutableRawPointer(
      sharedScratch.floats(slices.count * rows * MemoryLayout<SoftmaxSums>.stride / 4)
    ).bindMemory(to: SoftmaxSums.self, capacity: slices.count * rows)
    pool.run(slices.count * blocks) { task, thread in
      let tokens = slices[task / blocks]
      let block = task % blocks * rowBlock..<min(rows, (task % blocks + 1) * rowBlock)
      withScratch(tokens.count * (1 + block.count), thread: thread) { scratch in
        let logits =
          kept?.sliceIfHere(task / blocks)?.row(block.lowerBound) ?? scratch + tokens.count
        multiply(head, tokens: tokens, rows: block, into: logits, thread: thread)
        for row in block {
          parts[task / blocks * rows + row] = SoftmaxSums(
            logits + (row - block.lowerBound) * tokens.count, count: tokens.count,
            target: Int(targets[row]) - tokens.lowerBound, scratch: scratch)
        }
      }
    }
    pool.forEachPart(of: rows) { part, _ in
      for row in part {
        var all = parts[row]
        for slice in 1..<max(1, slices.count) {
          all.add(
            parts[slice * rows + row], holdsTarget: slices[slice].contains(Int(targets[row])))
        }
        sums[row] = all
      }
    }
  }

  /// KL(reference ‖ head) of each row, in nats; 0 where the reference's κ is 0.
  ///
  /// - Parameters:
  ///   - head: rows (M, C) and weights.
  ///   - sums: of its rows.
  ///   - kept: the head's logits as ``softmaxSums(_:targets:kept:into:)`` left them; what isn't there is
  ///     computed again.
  ///   - reference: what is measured from.
  /// - Returns: M divergences.
  public func divergences(
    _ head: VocabularyHead, sums: UnsafePointer<SoftmaxSums>, kept: SlicedLogits?,
    reference: ReferenceHead
  ) -> [Double] {
    let rows = head.inputs.rows
    precondition(reference.head.inputs.rows == rows && reference.coefficients.count == rows)
    let slices = head.slices
    var parts = [Double](repeating: 0, count: slices.count * rows)
    parts.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let parts = buffer
      let blocks = (rows + rowBlock - 1) / rowBlock
      pool.run(slices.count * blocks) { task, thread in
        let tokens = slices[task / blocks]
        let block = task % blocks * rowBlock..<min(rows, (task % blocks + 1) * rowBlock)
        if block.allSatisfy({ reference.coefficients[$0] == 0 }) { return }
        let size = tokens.count * block.count
        withScratch(2 * tokens.count + 2 * size, thread: thread) { scratch in
          let others = scratch + 2 * tokens.count
          multiply(reference.head, tokens: tokens, rows: block, into: others, thread: thread)
          var logits = others + size
          if let kept = kept?.sliceIfHere(task / blocks) {
            logits = kept.row(block.lowerBound)
          } else {
            multiply(head, tokens: tokens, rows: block, into: logits, thread: thread)
          }
          for row in block where reference.coefficients[row] != 0 {
            let place = (row - block.lowerBound) * tokens.count
            parts[task / blocks * rows + row] = divergenceSum(
              logits + place, sums: sums[row], reference: others + place,
              referenceSums: reference.sums[row], count: tokens.count, scratch: scratch)
          }
        }
      }
    }
    return (0..<rows).map { row in
      if reference.coefficients[row] == 0 { return 0 }
      let weighted = (0..<slices.count).reduce(0) { $0 + parts[$1 * rows + row] }
      return divergence(weighted, sums: sums[row], referenceSums: reference.sums[row])
    }
  }

  /// Gradient of Σ c · log softmax(logits)[target] + Σ κ · KL(reference ‖ softmax(logits)).
  ///
  /// The sum over slices of the inputs' gradient runs in their order, however many slices are held at
  /// once; the weights' gradient is one product a slice over all rows, added once.
  /// - Parameters:
  ///   - head: rows (M, C), M a multiple of 32 unless ``sumsAnyRows(columns:)``, and weights.
  ///   - sums: of the rows.
  ///   - targets: M token ids.
  ///   - coefficients: c (M).
  ///   - reference: what a divergence is measured from, nil for none.
  ///   - logits: what ``softmaxSums(_:targets:kept:into:)`` kept, at least one slice, and room for as
  ///     many at once of the others, which are computed again. Overwritten.
  ///   - dInputs: gradient of the rows (M, C), overwritten.
  ///   - dWeights: gradient of the weights (V, C), added to; nil if they stay as they are.
  ///   - startsAtZero: whether `dWeights` counts as zero, whatever it holds.
  public func headGradient(
    _ head: VocabularyHead, sums: UnsafePointer<SoftmaxSums>, targets: [Int32],
    coefficients: [Float], reference: ReferenceHead?, logits: SlicedLogits,
    into dInputs: Matrix, addingTo dWeights: Matrix?, startsAtZero: Bool = false
  ) {
    let rows = head.inputs.rows
    precondition(targets.count == rows && coefficients.count == rows && logits.rows == rows)
    if let reference {
      precondition(reference.head.inputs.rows == rows && reference.coefficients.count == rows)
    }
    let slices = head.slices
    let held = logits.slices.count
    let precision = head.inputs.precision
    for first in stride(from: 0, to: slices.count, by: held) {
      let window = first..<min(slices.count, first + held)
      pool.run(window.count) { task, thread in
        let tokens = slices[window.lowerBound + task]
        let place = logits.base + task * VocabularySlices.width * rows
        if first > 0 {
          for start in stride(from: 0, to: rows, by: rowBlock) {
            let block = start..<min(rows, start + rowBlock)
            multiply(
              head, tokens: tokens, rows: block, into: place + start * tokens.count,
              thread: thread)
          }
        }
        sliceGradient(
          place, tokens: tokens, sums: sums, targets: targets, coefficients: coefficients,
          reference: reference, rows: rows, precision: precision, thread: thread)
        guard let dWeights else { return }
        let shape = ProductShape(
          rows: tokens.count, columns: head.inputs.columns, inner: rows, transposesA: true,
          accumulates: !startsAtZero, precision: precision)
        engines[thread].multiply(
          shape, place, head.inputs.base, into: dWeights.row(tokens.lowerBound))
      }
      forEachRowPart(of: rows) { part, thread in
        for (task, slice) in window.enumerated() {
          let tokens = slices[slice]
          let shape = ProductShape(
            rows: part.count, columns: dInputs.columns, inner: tokens.count,
            accumulates: slice > 0, precision: precision)
          let place = UnsafeMutableRawPointer(
            logits.base + task * VocabularySlices.width * rows)
          engines[thread].multiply(
            shape, place + part.lowerBound * tokens.count * precision.byteCount,
            head.weights.row(tokens.lowerBound), into: dInputs.row(part.lowerBound))
        }
      }
    }
  }

  /// A slice's logits to their gradient, in place; as bf16 it takes the first half of their memory.
  private func sliceGradient(
    _ logits: Floats, tokens: Range<Int>, sums: UnsafePointer<SoftmaxSums>, targets: [Int32],
    coefficients: [Float], reference: ReferenceHead?, rows: Int, precision: Precision, thread: Int
  ) {
    let count = tokens.count
    let otherCount = reference == nil ? 0 : rowBlock * count
    withScratch(count + otherCount, thread: thread) { scratch in
      for row in 0..<rows {
        let line = logits + row * count
        logSoftmaxGradient(
          line, count: count, sums: sums[row], coefficient: coefficients[row],
          target: Int(targets[row]) - tokens.lowerBound, into: scratch)
        if let reference {
          let first = row / rowBlock * rowBlock
          let others = scratch + count
          if row == first {
            multiply(
              reference.head, tokens: tokens, rows: first..<min(rows, first + rowBlock),
              into: others, thread: thread)
          }
          let kappa = reference.coefficients[row]
          if kappa != 0 {
            addDivergenceGradient(
              line, sums: sums[row], reference: others + (row - first) * count,
              referenceSums: reference.sums[row], coefficient: kappa, count: count, to: scratch)
          }
        }
        let place = UnsafeMutableRawPointer(logits) + row * count * precision.byteCount
        storeRounded(scratch, to: place, precision, count: count)
      }
    }
  }

  /// Logits of some rows for some tokens, dense.
  private func multiply(
    _ head: VocabularyHead, tokens: Range<Int>, rows: Range<Int>, into logits: Floats, thread: Int
  ) {
    engines[thread].multiply(
      ProductShape(
        rows: rows.count, columns: tokens.count, inner: head.inputs.columns, transposesB: true,
        precision: head.inputs.precision),
      head.inputs.row(rows.lowerBound), head.weights.row(tokens.lowerBound), into: logits)
  }
}
