import Testing

@testable import Tensor

/// An operation on fixed operands; what it wrote, bit by bit.
private struct Operation: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var run: @Sendable (Compute) -> [[UInt32]]
}

// Rows of linear layers below and above 16 a thread, outputs below and above 64 a thread: that is
// where the parts change.
private let layers = [
  (1, 64, 256), (2, 48, 320), (15, 64, 128), (16, 16, 16), (17, 24, 40), (31, 128, 384),
  (32, 32, 37), (33, 16, 128), (64, 96, 272), (65, 48, 48), (129, 64, 64), (300, 40, 48),
]

private let heads = AttentionHeads(queryCount: 4, keyValueCount: 2, size: 8)

private let families = [
  AttentionFamily(segments: [
    AttentionSegment(rows: 0..<70), AttentionSegment(rows: 70..<90, prefix: 0..<66),
    AttentionSegment(rows: 90..<95, prefix: 0..<66),
  ]),
  AttentionFamily(segments: [AttentionSegment(rows: 95..<106)]),
  AttentionFamily(segments: [AttentionSegment(rows: 106..<107)]),
  AttentionFamily(segments: [
    AttentionSegment(rows: 107..<380), AttentionSegment(rows: 380..<400, prefix: 107..<300),
  ]),
]

private func operand(
  _ rows: Int, _ columns: Int, _ seed: UInt64, _ precision: Precision = .f32
) -> Operand {
  Operand(Table(rows: rows, columns: columns, seed: seed), precision)
}

private func halves(_ numbers: [Double]) -> [UInt32] {
  numbers.flatMap { [UInt32(truncatingIfNeeded: $0.bitPattern), UInt32($0.bitPattern >> 32)] }
}

/// Operations on operands of a precision; their results are of both where they may be.
private func operations(_ precision: Precision) -> [Operation] {
  [products(precision), rows(precision), attentions(precision), heads(precision)].flatMap { $0 }
    .map { Operation(testDescription: "\($0.testDescription), \(precision)", run: $0.run) }
}

private func products(_ precision: Precision) -> [Operation] {
  [
    Operation(testDescription: "linear") { compute in
      layers.flatMap { rows, inner, outer in
        let (x, w) = (operand(rows, inner, 1, precision), operand(outer, inner, 2, precision))
        return Set([.f32, precision]).sorted { $0.byteCount > $1.byteCount }.map { result in
          let y = operand(rows, outer, 3, result)
          compute.linear(x.operand, w.operand, into: y.operand)
          return y.bits
        }
      }
    },
    Operation(testDescription: "linearInputGradient") { compute in
      layers.flatMap { rows, inner, outer in
        let (dy, w) = (operand(rows, outer, 4, precision), operand(outer, inner, 5, precision))
        let (plain, added) = (operand(rows, inner, 6), operand(rows, inner, 7))
        let rounded = operand(rows, inner, 6, precision)
        compute.linearInputGradient(dy.operand, w.operand, into: plain.operand)
        compute.linearInputGradient(dy.operand, w.operand, into: rounded.operand)
        compute.linearInputGradient(dy.operand, w.operand, into: added.operand, accumulates: true)
        return [plain.bits, added.bits, rounded.bits]
      }
    },
    Operation(testDescription: "linearWeightGradient") { compute in
      layers.map { rows, inner, outer in
        let padded = compute.sumsAnyRows(columns: inner) ? rows : (rows + 31) / 32 * 32
        let (dy, x) = (operand(padded, outer, 8, precision), operand(padded, inner, 9, precision))
        let dw = operand(outer, inner, 10)
        compute.linearWeightGradient(dy.operand, x.operand, addingTo: dw.matrix)
        return dw.bits
      }
    },
    Operation(testDescription: "weight gradient of many rows") { compute in
      [(4096, 16, 48), (1024, 128, 96)].map { rows, inner, outer in
        let (dy, x) = (operand(rows, outer, 11, precision), operand(rows, inner, 12, precision))
        let dw = operand(outer, inner, 13)
        compute.linearWeightGradient(dy.operand, x.operand, addingTo: dw.matrix)
        return dw.bits
      }
    },
  ]
}

private func rows(_ precision: Precision) -> [Operation] {
  [
    Operation(testDescription: "bias and sums") { compute in
      let (y, b, dy) = (operand(45, 37, 14), operand(1, 37, 15), operand(45, 37, 16))
      let rounded = operand(45, 37, 16, precision)
      let (db, target) = (operand(1, 37, 17), operand(5, 37, 18))
      compute.addBias(y.matrix, b.base)
      compute.add(y.matrix, dy.matrix)
      compute.biasGradient(rounded.operand, addingTo: db.base)
      compute.addRows(dy.matrix, to: target.matrix, at: (0..<45).map { Int32($0 % 5) })
      return [y.bits, db.bits, target.bits]
    },
    Operation(testDescription: "rmsNorm") { compute in
      let (x, w, dy) = (operand(33, 50, 19), operand(1, 50, 20), operand(33, 50, 21))
      let (y, inverse) = (operand(33, 50, 22, precision), operand(1, 33, 23))
      let (dx, dw) = (operand(33, 50, 24), operand(1, 50, 25))
      compute.rmsNorm(
        x.matrix, weight: w.base, epsilon: 1e-6, into: y.operand, inverseRMS: inverse.base)
      compute.rmsNormBackward(
        dy.matrix, x: x.matrix, weight: w.base, inverseRMS: inverse.base, addingTo: dx.matrix)
      compute.rmsNormWeightGradient(
        dy.matrix, x: x.matrix, inverseRMS: inverse.base, addingTo: dw.base)
      return [y.bits, inverse.bits, dx.bits, dw.bits]
    },
    Operation(testDescription: "rotate and swiGLU") { compute in
      let (x, gateUp) = (operand(31, 24, 26), operand(31, 74, 27, precision))
      let (activation, dActivation) = (operand(31, 37, 28, precision), operand(31, 37, 29))
      let angles = RotaryAngles(
        positions: (0..<31).map { $0 }, embedding: RotaryEmbedding(base: 10000, headSize: 8))
      compute.rotate(x.matrix, headCount: 2, angles: angles, inverse: false)
      compute.swiGLU(gateUp.operand, into: activation.operand)
      let again = operand(31, 37, 49, precision)
      compute.swiGLUBackward(
        dActivation.matrix, inPlace: gateUp.operand, activation: again.operand)
      return [x.bits, activation.bits, gateUp.bits, again.bits]
    },
  ]
}

private func attentions(_ precision: Precision) -> [Operation] {
  [
    Operation(testDescription: "attention") { compute in
      [nil, 40].flatMap { (window: Int?) -> [[UInt32]] in
        let fused = operand(400, heads.fusedColumns, 30, precision)
        let (output, dOutput) = (operand(400, 32, 31, precision), operand(400, 32, 32))
        let (normalizers, dFused) = (operand(4, 800, 33), operand(400, heads.fusedColumns, 34))
        compute.attention(
          fused.operand, heads: heads, families: families, window: window, into: output.operand,
          normalizers: normalizers.base)
        compute.attentionBackward(
          dOutput.matrix, fused: fused.operand, heads: heads, families: families, window: window,
          normalizers: normalizers.base, into: dFused.matrix)
        return [output.bits, normalizers.bits, dFused.bits]
      }
    },
    Operation(testDescription: "cachedAttention") { compute in
      let fused = operand(5, heads.fusedColumns, 35, precision)
      let memory = (0..<5).map {
        (
          operand(2 * 128, 8, UInt64(300 + $0), precision),
          operand(2 * 128, 8, UInt64(400 + $0), precision)
        )
      }
      let output = operand(5, 32, 38, precision)
      let caches = memory.enumerated().map {
        CachedKeys(
          keys: $0.element.0.operand.base, values: $0.element.1.operand.base, capacity: 128,
          count: 1 + 25 * $0.offset)
      }
      compute.cachedAttention(fused.operand, heads: heads, caches: caches, into: output.operand)
      return [output.bits] + memory.flatMap { [$0.bits, $1.bits] }
    },
  ]
}

private func heads(_ precision: Precision) -> [Operation] {
  [
    Operation(testDescription: "sampling") { compute in
      let logits = TableLogits(Table(rows: 13, columns: 2100, seed: 39))
      let drawn = logits.sample(
        compute, SamplingRule(temperature: 0.8, topK: 900, topP: 0.9),
        (0..<13).map { Double($0) / 13 })
      return [
        halves(drawn.map(\.logProbability) + drawn.map(\.drawLogProbability)),
        drawn.map { UInt32(bitPattern: $0.token) },
      ]
    },
    // Two row blocks, three slices, the last a short one.
    Operation(testDescription: "head and its gradient") { compute in
      let (rows, inner, tokens) = (288, 24, 2 * VocabularySlices.width + 37)
      let (inputs, weights) = (
        operand(rows, inner, 39, precision), operand(tokens, inner, 40, precision)
      )
      let (otherInputs, otherWeights) = (
        operand(rows, inner, 45, precision), operand(tokens, inner, 46, precision)
      )
      let head = VocabularyHead(inputs: inputs.operand, weights: weights.operand)
      let other = VocabularyHead(inputs: otherInputs.operand, weights: otherWeights.operand)
      let targets = (0..<rows).map { Int32($0 * 14) }
      let memory = FloatBuffer(count: rows * tokens)
      let kept = SlicedLogits(base: memory.base, rows: rows, slices: head.slices)
      var sums = [SoftmaxSums](repeating: SoftmaxSums(), count: rows)
      var otherSums = sums
      compute.softmaxSums(head, targets: targets, kept: kept, into: &sums)
      compute.softmaxSums(other, targets: targets, kept: nil, into: &otherSums)
      let (dInputs, dWeights) = (operand(rows, inner, 47), operand(tokens, inner, 48))
      let divergences = otherSums.withUnsafeBufferPointer { otherSums -> [Double] in
        guard let base = otherSums.baseAddress else { return [] }
        let reference = ReferenceHead(
          head: other, sums: base, coefficients: operand(1, rows, 49).floats)
        defer {
          compute.headGradient(
            head, sums: sums, targets: targets, coefficients: operand(1, rows, 50).floats,
            reference: reference, logits: kept, into: dInputs.matrix, addingTo: dWeights.matrix)
        }
        return compute.divergences(head, sums: sums, kept: kept, reference: reference)
      }
      let statistics = sums.map { $0.statistics(count: tokens) }
      return [
        halves(
          statistics.flatMap { [$0.logProbability, $0.entropy, $0.meanLogit] } + divergences),
        dInputs.bits, dWeights.bits,
      ]
    },
  ]
}

private let all =
  operations(.f32) + operations(.bf16) + [
    Operation(testDescription: "optimizers") { compute in
      let count = 70_001
      let (w, g) = (operand(1, count, 41), operand(1, count, 42))
      let (m, v) = (operand(1, count, 43), operand(1, count, 44))
      compute.sgd(
        weights: w.masters, gradient: g.base, scale: 0.5, velocity: m.base,
        learningRate: 0.1, momentum: 0.9, weightDecay: 0.1, isFirst: false)
      for index in 0..<count { v.base[index] = abs(v.base[index]) }
      compute.adamW(
        weights: w.masters, gradient: g.base, scale: 0.3, first: m.base, second: v.base,
        constants: AdamWStep(
          learningRate: 0.01, betas: (0.9, 0.999), epsilon: 1e-8, weightDecay: 0.1, step: 3))
      for velocity in [m.base, nil] {
        compute.rmsProp(
          weights: w.masters, gradient: g.base, scale: 0.7, squares: v.base, velocity: velocity,
          constants: RMSPropStep(
            learningRate: 0.01, alpha: 0.9, epsilon: 1e-8, weightDecay: 0.1, momentum: 0.5))
      }
      return [w.bits, m.bits, v.bits, halves(compute.squaredNorms(w.base, count: count))]
    }
  ]

@Suite struct ThreadCountTests {
  /// One, two and three threads give the same bits, on either library.
  @Test(arguments: all, [true, false])
  fileprivate func threadsChangeNoBit(_ operation: Operation, usesOneDNN: Bool) {
    let one = operation.run(Compute(threadCount: 1, usesOneDNN: usesOneDNN))
    for threadCount in [2, 3] {
      let several = operation.run(Compute(threadCount: threadCount, usesOneDNN: usesOneDNN))
      for (index, (found, expected)) in zip(several, one).enumerated() {
        expectEqual(found, expected, "\(threadCount) threads, result \(index)")
      }
    }
  }

  /// The same call again gives the same bits: no sum depends on who was first.
  @Test(arguments: all)
  fileprivate func repetitionChangesNoBit(_ operation: Operation) {
    let compute = Compute(threadCount: 2)
    let first = operation.run(compute)
    for _ in 0..<3 {
      for (found, expected) in zip(operation.run(compute), first) { expectEqual(found, expected) }
    }
  }
}
