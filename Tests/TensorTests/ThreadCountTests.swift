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

private func operand(_ rows: Int, _ columns: Int, _ seed: UInt64) -> Operand {
  Operand(Table(rows: rows, columns: columns, seed: seed))
}

private let operations: [Operation] = [
  Operation(testDescription: "linear") { compute in
    layers.map { rows, inner, outer in
      let (x, w, y) = (operand(rows, inner, 1), operand(outer, inner, 2), operand(rows, outer, 3))
      compute.linear(x.matrix, w.matrix, into: y.matrix)
      return y.bits
    }
  },
  Operation(testDescription: "linearInputGradient") { compute in
    layers.flatMap { rows, inner, outer in
      let (dy, w) = (operand(rows, outer, 4), operand(outer, inner, 5))
      let (plain, added) = (operand(rows, inner, 6), operand(rows, inner, 7))
      compute.linearInputGradient(dy.matrix, w.matrix, into: plain.matrix)
      compute.linearInputGradient(dy.matrix, w.matrix, into: added.matrix, accumulates: true)
      return [plain.bits, added.bits]
    }
  },
  Operation(testDescription: "linearWeightGradient") { compute in
    layers.map { rows, inner, outer in
      let padded = (rows + 31) / 32 * 32
      let (dy, x) = (operand(padded, outer, 8), operand(padded, inner, 9))
      let dw = operand(outer, inner, 10)
      compute.linearWeightGradient(dy.matrix, x.matrix, addingTo: dw.matrix)
      return dw.bits
    }
  },
  Operation(testDescription: "weight gradient of many rows") { compute in
    [(4096, 16, 48), (1024, 128, 96)].map { rows, inner, outer in
      let (dy, x) = (operand(rows, outer, 11), operand(rows, inner, 12))
      let dw = operand(outer, inner, 13)
      compute.linearWeightGradient(dy.matrix, x.matrix, addingTo: dw.matrix)
      return dw.bits
    }
  },
  Operation(testDescription: "bias and sums") { compute in
    let (y, b, dy) = (operand(45, 37, 14), operand(1, 37, 15), operand(45, 37, 16))
    let (db, target) = (operand(1, 37, 17), operand(5, 37, 18))
    compute.addBias(y.matrix, b.base)
    compute.add(y.matrix, dy.matrix)
    compute.biasGradient(dy.matrix, addingTo: db.base)
    compute.addRows(dy.matrix, to: target.matrix, at: (0..<45).map { Int32($0 % 5) })
    return [y.bits, db.bits, target.bits]
  },
  Operation(testDescription: "rmsNorm") { compute in
    let (x, w, dy) = (operand(33, 50, 19), operand(1, 50, 20), operand(33, 50, 21))
    let (y, inverse) = (operand(33, 50, 22), operand(1, 33, 23))
    let (dx, dw) = (operand(33, 50, 24), operand(1, 50, 25))
    compute.rmsNorm(
      x.matrix, weight: w.base, epsilon: 1e-6, into: y.matrix, inverseRMS: inverse.base)
    compute.rmsNormBackward(
      dy.matrix, x: x.matrix, weight: w.base, inverseRMS: inverse.base, addingTo: dx.matrix)
    compute.rmsNormWeightGradient(
      dy.matrix, x: x.matrix, inverseRMS: inverse.base, addingTo: dw.base)
    return [y.bits, inverse.bits, dx.bits, dw.bits]
  },
  Operation(testDescription: "rotate and swiGLU") { compute in
    let (x, gateUp) = (operand(31, 24, 26), operand(31, 74, 27))
    let (activation, dActivation) = (operand(31, 37, 28), operand(31, 37, 29))
    let angles = RotaryAngles(
      positions: (0..<31).map { $0 }, embedding: RotaryEmbedding(base: 10000, headSize: 8))
    compute.rotate(x.matrix, headCount: 2, angles: angles, inverse: false)
    compute.swiGLU(gateUp.matrix, into: activation.matrix)
    compute.swiGLUBackward(dActivation.matrix, inPlace: gateUp.matrix)
    return [x.bits, activation.bits, gateUp.bits]
  },
  Operation(testDescription: "attention") { compute in
    let fused = operand(400, heads.fusedColumns, 30)
    let (output, dOutput) = (operand(400, 32, 31), operand(400, 32, 32))
    let (logs, dFused) = (operand(4, 400, 33), operand(400, heads.fusedColumns, 34))
    compute.attention(
      fused.matrix, heads: heads, families: families, into: output.matrix, logSumExp: logs.base)
    compute.attentionBackward(
      dOutput.matrix, output: output.matrix, fused: fused.matrix, heads: heads,
      families: families, logSumExp: logs.base, into: dFused.matrix)
    return [output.bits, logs.bits, dFused.bits]
  },
  Operation(testDescription: "cachedAttention") { compute in
    let fused = operand(5, heads.fusedColumns, 35)
    let (keys, values, output) = (
      operand(2 * 40, 8, 36), operand(2 * 40, 8, 37), operand(5, 32, 38)
    )
    let shared = (0..<5).map {
      CachedKeys(keys: keys.base, values: values.base, capacity: 40, count: 30 + $0)
    }
    let own = (0..<5).map {
      CachedKeys(keys: values.base, values: keys.base, capacity: 40, count: 1 + 3 * $0)
    }
    compute.cachedAttention(
      fused.matrix, heads: heads, shared: shared, own: own, into: output.matrix)
    withExtendedLifetime((keys, values)) {}
    return [output.bits]
  },
  Operation(testDescription: "log-softmax and sampling") { compute in
    let logits = operand(13, 2100, 39)
    let coefficients = operand(1, 13, 40)
    let targets = (0..<13).map { Int32($0 * 150) }
    var statistics = [TokenStatistics](repeating: TokenStatistics(), count: 13)
    let drawn = compute.sample(
      logits.matrix, rule: SamplingRule(temperature: 0.8, topK: 900, topP: 0.9),
      uniforms: (0..<13).map { Double($0) / 13 })
    targets.withUnsafeBufferPointer { targets in
      statistics.withUnsafeMutableBufferPointer { statistics in
        guard let first = targets.baseAddress, let place = statistics.baseAddress else { return }
        compute.tokenStatistics(logits.matrix, targets: first, into: place)
        compute.logSoftmaxBackward(
          inPlace: logits.matrix, targets: first, coefficients: coefficients.base)
      }
    }
    let numbers =
      statistics.flatMap { [$0.logProbability, $0.entropy, $0.meanLogit] }
      + drawn.map(\.logProbability) + drawn.map(\.drawLogProbability)
    let halves = numbers.flatMap {
      [UInt32(truncatingIfNeeded: $0.bitPattern), UInt32($0.bitPattern >> 32)]
    }
    return [halves, drawn.map { UInt32(bitPattern: $0.token) }, logits.bits]
  },
  Operation(testDescription: "divergence and its gradient") { compute in
    let (logits, reference) = (operand(13, 2100, 45), operand(13, 2100, 46))
    let kappas = operand(1, 13, 47).floats
    var divergences = [Double](repeating: 0, count: 13)
    compute.divergences(
      logits.matrix, reference: reference.matrix, coefficients: kappas, into: &divergences)
    compute.logSoftmaxAndDivergenceBackward(
      inPlace: logits.matrix, targets: (0..<13).map { Int32($0 * 150) },
      coefficients: operand(1, 13, 48).floats, reference: reference.matrix,
      divergenceCoefficients: kappas)
    let halves = divergences.flatMap {
      [UInt32(truncatingIfNeeded: $0.bitPattern), UInt32($0.bitPattern >> 32)]
    }
    return [halves, logits.bits]
  },
  Operation(testDescription: "optimizers") { compute in
    let count = 70_001
    let (w, g) = (operand(1, count, 41), operand(1, count, 42))
    let (m, v) = (operand(1, count, 43), operand(1, count, 44))
    compute.sgd(
      weights: w.base, gradient: g.base, scale: 0.5, velocity: m.base, count: count,
      learningRate: 0.1, momentum: 0.9, weightDecay: 0.1, isFirst: false)
    for index in 0..<count { v.base[index] = abs(v.base[index]) }
    compute.adamW(
      weights: w.base, gradient: g.base, scale: 0.3, first: m.base, second: v.base, count: count,
      constants: AdamWStep(
        learningRate: 0.01, betas: (0.9, 0.999), epsilon: 1e-8, weightDecay: 0.1, step: 3))
    for velocity in [m.base, nil] {
      compute.rmsProp(
        weights: w.base, gradient: g.base, scale: 0.7, squares: v.base, velocity: velocity,
        count: count,
        constants: RMSPropStep(
          learningRate: 0.01, alpha: 0.9, epsilon: 1e-8, weightDecay: 0.1, momentum: 0.5))
    }
    let norms = compute.squaredNorms(w.base, count: count).flatMap {
      [UInt32(truncatingIfNeeded: $0.bitPattern), UInt32($0.bitPattern >> 32)]
    }
    return [w.bits, m.bits, v.bits, norms]
  },
]

@Suite struct ThreadCountTests {
  /// One, two and three threads give the same bits, on either library.
  @Test(arguments: operations, [true, false])
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
  @Test(arguments: operations)
  fileprivate func repetitionChangesNoBit(_ operation: Operation) {
    let compute = Compute(threadCount: 2)
    let first = operation.run(compute)
    for _ in 0..<3 {
      for (found, expected) in zip(operation.run(compute), first) { expectEqual(found, expected) }
    }
  }
}
