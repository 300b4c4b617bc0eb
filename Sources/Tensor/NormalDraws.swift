import Glibc

/// Fills `count` floats with independent normal numbers of the given standard deviation.
///
/// Box–Muller on keyed draws: the number at an index depends on the key and the index alone.
public func fillNormal(
  _ target: UnsafeMutablePointer<Float>, count: Int, deviation: Double, random: KeyedRandom,
  key: Int
) {
  for index in stride(from: 0, to: count, by: 2) {
    let pair = index / 2
    let high = pair >> 31
    let low = pair & 0x7FFF_FFFF
    // 1 − u lies in (0, 1], so the logarithm is finite.
    let first = 1 - random.uniform(step: key, row: low, sample: 2 * high)
    let second = random.uniform(step: key, row: low, sample: 2 * high + 1)
    let radius = (-2 * log(first)).squareRoot() * deviation
    target[index] = Float(radius * cos(2 * .pi * second))
    if index + 1 < count { target[index + 1] = Float(radius * sin(2 * .pi * second)) }
  }
}
