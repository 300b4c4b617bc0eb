import Glibc

/// Fills an array with independent normal numbers of the given standard deviation.
///
/// Box–Muller on keyed draws: the number at an index depends on the key and the index alone.
/// - Parameters:
///   - target: first number of the array.
///   - count: length of the array.
///   - deviation: standard deviation.
///   - random: the draws.
///   - key: key of the array.
///   - pairs: only the numbers 2 p and 2 p + 1 for these p; nil for all.
public func fillNormal(
  _ target: UnsafeMutablePointer<Float>, count: Int, deviation: Double, random: KeyedRandom,
  key: Int, pairs: Range<Int>? = nil
) {
  for pair in pairs ?? 0..<(count + 1) / 2 {
    let high = pair >> 31
    let low = pair & 0x7FFF_FFFF
    // 1 − u lies in (0, 1], so the logarithm is finite.
    let first = 1 - random.uniform(step: key, row: low, sample: 2 * high)
    let second = random.uniform(step: key, row: low, sample: 2 * high + 1)
    let radius = (-2 * log(first)).squareRoot() * deviation
    target[2 * pair] = Float(radius * cos(2 * .pi * second))
    if 2 * pair + 1 < count { target[2 * pair + 1] = Float(radius * sin(2 * .pi * second)) }
  }
}
