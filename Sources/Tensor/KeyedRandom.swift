/// What a draw is for: draws of different purposes never share bits.
public enum DrawPurpose: UInt32, Sendable {
  /// Random initial weights.
  case initialization = 1
  /// The order of the training rows of an epoch.
  case shuffle = 2
  /// The split of a data set into training and evaluation rows.
  case split = 3
  /// The route (offline, DDP, DPP, DPR) of a row.
  case route = 4
  /// The tokens of a generated completion.
  case sampling = 5
  /// The preference label of a row.
  case label = 6
  /// The tokens of completions that evaluation generates.
  case evaluation = 8
  /// Synthetic data.
  case synthetic = 7
  /// The tokens of completions that are drawn from the reference.
  case referenceSampling = 9
  /// Directions and displacements of a gradient check.
  case gradientCheck = 10
  /// Initial weights of a low-rank adapter.
  case adapterInitialization = 11
  /// Dropped inputs of a low-rank adapter.
  case dropout = 12
}

/// Random numbers keyed by what is drawn, not by who draws it or when.
///
/// Counter-based: Philox4x32 with ten rounds (Salmon et al., "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011). The same key and counter give the same number on any rank, thread or restart.
public struct KeyedRandom: Sendable {
  private let key: (UInt32, UInt32)

  /// The draws of one purpose under one seed.
  public init(seed: UInt64, purpose: DrawPurpose) {
    // The seed's bits are the first Philox output's key, so that nearby seeds are unrelated.
    let mixed = KeyedRandom.philox(
      counter: (purpose.rawValue, 0, 0, 0),
      key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
    key = (mixed.0, mixed.1)
  }

  /// The draws of one purpose under one seed in one step, with all four counters free.
  init(seed: UInt64, purpose: DrawPurpose, step: Int) {
    let outer = KeyedRandom(seed: seed, purpose: purpose)
    let mixed = outer.block(
      (UInt32(truncatingIfNeeded: step), UInt32(truncatingIfNeeded: step >> 32), 0, 0))
    key = (mixed.0, mixed.1)
  }

  /// 128 random bits of a counter.
  func block(
    _ counter: (UInt32, UInt32, UInt32, UInt32)
  ) -> (UInt32, UInt32, UInt32, UInt32) {
    KeyedRandom.philox(counter: counter, key: key)
  }

  /// A uniform number in [0, 1) with 53 random bits.
  ///
  /// - Parameters:
  ///   - step: the optimizer step, or 0 outside training.
  ///   - row: the row in the step or data set.
  ///   - sample: the sample of that row.
  ///   - position: the position in that sample.
  /// - Returns: the number; the same for the same arguments.
  public func uniform(step: Int, row: Int = 0, sample: Int = 0, position: Int = 0) -> Double {
    Double(bits(step: step, row: row, sample: sample, position: position) >> 11) * 0x1p-53
  }

  /// 64 random bits; arguments as for ``uniform(step:row:sample:position:)``.
  public func bits(step: Int, row: Int = 0, sample: Int = 0, position: Int = 0) -> UInt64 {
    let output = KeyedRandom.philox(
      counter: (
        UInt32(truncatingIfNeeded: step), UInt32(truncatingIfNeeded: row),
        UInt32(truncatingIfNeeded: sample), UInt32(truncatingIfNeeded: position)
      ), key: key)
    return UInt64(output.0) << 32 | UInt64(output.1)
  }

  /// A permutation of 0..<count (Fisher–Yates), keyed by `step`.
  public func permutation(count: Int, step: Int) -> [Int] {
    var order = Array(0..<count)
    for index in stride(from: count - 1, to: 0, by: -1) {
      // Lemire's multiply-shift; the bias is below 2⁻³² for any count that fits memory.
      let random = bits(step: step, row: index)
      let other = Int(random.multipliedFullWidth(by: UInt64(index + 1)).high)
      order.swapAt(index, other)
    }
    return order
  }

  /// Ten rounds of Philox4x32.
  static func philox(
    counter: (UInt32, UInt32, UInt32, UInt32), key: (UInt32, UInt32)
  ) -> (UInt32, UInt32, UInt32, UInt32) {
    var (c0, c1, c2, c3) = counter
    var (k0, k1) = key
    for _ in 0..<10 {
      let first = c0.multipliedFullWidth(by: 0xD251_1F53)
      let second = c2.multipliedFullWidth(by: 0xCD9E_8D57)
      (c0, c1, c2, c3) = (second.high ^ c1 ^ k0, second.low, first.high ^ c3 ^ k1, first.low)
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return (c0, c1, c2, c3)
  }
}
