import Glibc

// Sums over the vocabulary run in float over blocks of this many logits, in double over blocks.
private let block = 2048

extension Compute {
  /// KL(softmax(reference) ‖ softmax(logits)) of each row, in nats.
  ///
  /// Σ p (r − l) − log Σ eʳ + log Σ eˡ with p = softmax(r), the differences taken before they are
  /// summed, so that equal rows give 0.
  /// - Parameters:
  ///   - logits: l (M, V), read only.
  ///   - reference: r (M, V), read only.
  ///   - coefficients: M numbers; a row whose coefficient is 0 is left out and gets 0.
  ///   - divergences: M numbers, overwritten.
  public func divergences(
    _ logits: Matrix, reference: Matrix, coefficients: UnsafePointer<Float>,
    into divergences: UnsafeMutablePointer<Double>
  ) {
    precondition(logits.rows == reference.rows && logits.columns == reference.columns)
    pool.forEachPart(of: logits.rows) { part, thread in
      withScratch(2 * block, thread: thread) { scratch in
        for row in part {
          divergences[row] =
            coefficients[row] == 0
            ? 0
            : divergenceOfRow(
              logits.row(row), reference: reference.row(row), count: logits.columns,
              scratch: scratch)
        }
      }
    }
  }

  /// Adds the gradient of Σ κ · KL(softmax(reference) ‖ softmax(logits)) to c (1[target] − softmax).
  ///
  /// Logits become c (1[target] − softmax(l)) + κ (softmax(l) − softmax(r)), in place.
  /// - Parameters:
  ///   - logits: l (M, V), values in, gradients out.
  ///   - targets: M token ids.
  ///   - coefficients: c, the derivative of the loss by each log-probability (M).
  ///   - reference: r (M, V); rows whose κ is not 0 are overwritten.
  ///   - divergenceCoefficients: κ (M).
  public func logSoftmaxAndDivergenceBackward(
    inPlace logits: Matrix, targets: UnsafePointer<Int32>, coefficients: UnsafePointer<Float>,
    reference: Matrix, divergenceCoefficients: UnsafePointer<Float>
  ) {
    precondition(logits.rows == reference.rows && logits.columns == reference.columns)
    pool.forEachPart(of: logits.rows) { part, _ in
      for row in part {
        let line = logits.row(row)
        let kappa = divergenceCoefficients[row]
        let sum = exponentialsOfRow(line, count: logits.columns)
        let factor = Float((Double(kappa) - Double(coefficients[row])) / sum)
        for index in 0..<logits.columns { line[index] *= factor }
        if kappa != 0 {
          let other = reference.row(row)
          let otherSum = exponentialsOfRow(other, count: logits.columns)
          addScaled(
            line, other, scale: Float(-Double(kappa) / otherSum), count: logits.columns)
        }
        line[Int(targets[row])] += coefficients[row]
      }
    }
  }
}

/// x ← e^(x − max x); returns the sum.
func exponentialsOfRow(_ line: Floats, count: Int) -> Double {
  let largest = maximum(line, count: count)
  var sum = 0.0
  for start in stride(from: 0, to: count, by: block) {
    let length = min(block, count - start)
    sum += Double(exponentialsInPlace(line + start, shift: largest, count: length))
  }
  return sum
}

private func divergenceOfRow(
  _ logits: ConstantFloats, reference: ConstantFloats, count: Int, scratch: Floats
) -> Double {
  let largest = maximum(logits, count: count)
  let referenceLargest = maximum(reference, count: count)
  let shift = referenceLargest - largest
  let differences = scratch + block
  var sum = 0.0
  var referenceSum = 0.0
  var weighted = 0.0
  for start in stride(from: 0, to: count, by: block) {
    let length = min(block, count - start)
    for index in 0..<length {
      differences[index] = reference[start + index] - logits[start + index] - shift
    }
    scratch.update(from: reference + start, count: length)
    referenceSum += Double(
      exponentialsInPlace(scratch, shift: referenceLargest, count: length))
    weighted += Double(dot(scratch, differences, count: length))
    scratch.update(from: logits + start, count: length)
    sum += Double(exponentialsInPlace(scratch, shift: largest, count: length))
  }
  return weighted / referenceSum + log(sum / referenceSum)
}
