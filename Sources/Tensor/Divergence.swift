import Glibc

/// Σ e^(r − R) (r − l − (R − L)) over a slice, R and L the largest of each whole row.
///
/// The differences are taken before they are summed, so that equal rows give 0.
func divergenceSum(
  _ logits: ConstantFloats, sums: SoftmaxSums, reference: ConstantFloats,
  referenceSums: SoftmaxSums, count: Int, scratch: Floats
) -> Double {
  let shift = referenceSums.largest - sums.largest
  let differences = scratch + count
  for index in 0..<count { differences[index] = reference[index] - logits[index] - shift }
  scratch.update(from: reference, count: count)
  _ = exponentialsInPlace(scratch, shift: referenceSums.largest, count: count)
  return Double(dot(scratch, differences, count: count))
}

/// KL(softmax(reference) ‖ softmax(logits)) in nats from ``divergenceSum(_:sums:reference:referenceSums:count:scratch:)``
/// over all slices: Σ p (r − l) − log Σ eʳ + log Σ eˡ with p = softmax(r).
func divergence(_ weighted: Double, sums: SoftmaxSums, referenceSums: SoftmaxSums) -> Double {
  weighted / referenceSums.sum + log(sums.sum / referenceSums.sum)
}

/// Adds the gradient of κ · KL(softmax(reference) ‖ softmax(logits)): κ (softmax(l) − softmax(r)).
///
/// - Parameters:
///   - logits: a slice of the row, overwritten.
///   - sums: of the whole row.
///   - reference: the same slice of the reference, overwritten.
///   - referenceSums: of the reference's whole row.
///   - coefficient: κ.
///   - count: length of the slice.
///   - gradient: added to.
func addDivergenceGradient(
  _ logits: Floats, sums: SoftmaxSums, reference: Floats, referenceSums: SoftmaxSums,
  coefficient: Float, count: Int, to gradient: Floats
) {
  _ = exponentialsInPlace(logits, shift: sums.largest, count: count)
  addScaled(gradient, logits, scale: Float(Double(coefficient) / sums.sum), count: count)
  _ = exponentialsInPlace(reference, shift: referenceSums.largest, count: count)
  addScaled(
    gradient, reference, scale: Float(-Double(coefficient) / referenceSums.sum), count: count)
}
