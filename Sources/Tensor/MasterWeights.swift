/// Weights in f32 as an optimizer updates them, together with the numbers that products read.
///
/// In f32 these are the same floats. In bf16 each number of the first part, the matrices, lies in two
/// halves: `rounded`, which products read, and a remainder, what rounding took away in units of the
/// float's last place; bits(w) = rounded · 2¹⁶ + remainder. That is the float itself in as much memory,
/// and no further copy (after Transformer Engine, FusedAdam's `store_param_remainders`). Only a float
/// half way between two bf16 numbers that is rounded towards zero, one in 131 072, has a remainder that
/// does not fit: it is kept as the next float towards zero, from where updates of one last place alone do
/// not take it away from zero. A NaN is kept as the quiet NaN of its upper half.
public struct MasterWeights: @unchecked Sendable {
  /// Number of weights.
  public let count: Int
  /// How many of them, the first, lie in two halves; 0 in f32.
  private let splitCount: Int
  private let rounded: UnsafeMutablePointer<UInt16>?
  private let remainders: UnsafeMutablePointer<Int16>?
  /// The others.
  private let floats: UnsafeMutablePointer<Float>

  /// Weights in f32: `count` floats.
  public init(floats: UnsafeMutablePointer<Float>, count: Int) {
    self.count = count
    splitCount = 0
    rounded = nil
    remainders = nil
    self.floats = floats
  }

  /// Weights whose first `splitCount` products read in bf16.
  ///
  /// - Parameters:
  ///   - rounded: what products read, `splitCount` numbers.
  ///   - remainders: what rounding took away, as many.
  ///   - splitCount: how many weights lie in two halves.
  ///   - floats: the weights from `splitCount` on.
  ///   - count: number of all weights.
  public init(
    rounded: UnsafeMutablePointer<UInt16>, remainders: UnsafeMutablePointer<Int16>,
    splitCount: Int, floats: UnsafeMutablePointer<Float>, count: Int
  ) {
    precondition(splitCount <= count)
    self.count = count
    self.splitCount = splitCount
    self.rounded = rounded
    self.remainders = remainders
    self.floats = floats
  }

  /// The weights in `range`, counted from its start, in the same memory.
  public subscript(range: Range<Int>) -> MasterWeights {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    let split = range.clamped(to: 0..<splitCount)
    let floats = self.floats + max(0, range.lowerBound - splitCount)
    guard let rounded, let remainders else {
      return MasterWeights(floats: floats, count: range.count)
    }
    return MasterWeights(
      rounded: rounded + split.lowerBound, remainders: remainders + split.lowerBound,
      splitCount: split.count, floats: floats, count: range.count)
  }

  /// Copies the weights in `range` to `target`, as many floats, overwritten.
  public func read(_ range: Range<Int>, into target: UnsafeMutablePointer<Float>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    let split = range.clamped(to: 0..<splitCount)
    if let rounded, let remainders, !split.isEmpty {
      let (upper, lower) = (rounded + split.lowerBound, remainders + split.lowerBound)
      for index in 0..<split.count {
        let bits = UInt32(upper[index]) << 16 &+ UInt32(bitPattern: Int32(lower[index]))
        target[index] = Float(bitPattern: bits)
      }
    }
    let rest = range.clamped(to: splitCount..<count)
    (target + split.count).update(
      from: floats + (rest.lowerBound - splitCount), count: rest.count)
  }

  /// Overwrites the weights in `range` by as many floats.
  public func write(_ source: UnsafePointer<Float>, to range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    let split = range.clamped(to: 0..<splitCount)
    if let rounded, let remainders, !split.isEmpty {
      let (upper, lower) = (rounded + split.lowerBound, remainders + split.lowerBound)
      for index in 0..<split.count {
        let value = source[index].bitPattern
        let nearest = roundedBits(value)
        let isNaN = value & 0x7FFF_FFFF > 0x7F80_0000
        let rest = min(Int32(bitPattern: value &- nearest << 16), 0x7FFF)
        upper[index] = UInt16(truncatingIfNeeded: nearest)
        lower[index] = isNaN ? 0 : Int16(truncatingIfNeeded: rest)
      }
    }
    let rest = range.clamped(to: splitCount..<count)
    (floats + (rest.lowerBound - splitCount)).update(
      from: source + split.count, count: rest.count)
  }

  /// Writes the first content of memory that is zero still.
  ///
  /// Where all numbers are bf16 already, as in most folders, remainders stay untouched: private memory gets
  /// its pages with the first update.
  public func fill(_ source: UnsafePointer<Float>, at range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    var low: UInt32 = 0
    for index in 0..<range.count { low |= source[index].bitPattern }
    if let rounded, range.upperBound <= splitCount, low & 0xFFFF == 0 {
      roundToBF16(source, to: rounded + range.lowerBound, count: range.count)
    } else {
      write(source, to: range)
    }
  }

  /// Runs `body` on the weights in `range` as floats; what it makes of them stays.
  @inline(__always)
  fileprivate func update(
    _ range: Range<Int>, scratch: Floats, _ body: (UnsafeMutablePointer<Float>) -> Void
  ) {
    if range.lowerBound >= splitCount {
      body(floats + (range.lowerBound - splitCount))
    } else {
      read(range, into: scratch)
      body(scratch)
      write(scratch, to: range)
    }
  }
}

extension Compute {
  /// Runs `body` on all weights as floats, block after block on all threads; what it makes of them stays.
  ///
  /// - Parameters:
  ///   - weights: the weights.
  ///   - body: gets the block's floats and its range.
  func updateBlocks(
    of weights: MasterWeights,
    _ body: (_ floats: UnsafeMutablePointer<Float>, _ block: Range<Int>) -> Void
  ) {
    // With the gradient and two moments 32 KB, a first-level cache.
    let size = 2048
    pool.forEachPart(of: weights.count, multiple: 64) { part, thread in
      withScratch(size, thread: thread) { scratch in
        for start in stride(from: part.lowerBound, to: part.upperBound, by: size) {
          let block = start..<min(part.upperBound, start + size)
          weights.update(block, scratch: scratch) { body($0, block) }
        }
      }
    }
  }

  /// Moves weights: w ← w + size · direction.
  ///
  /// - Parameters:
  ///   - weights: added to.
  ///   - size: the factor.
  ///   - direction: as many floats as weights.
  public func displace(
    _ weights: MasterWeights, by size: Float, along direction: UnsafePointer<Float>
  ) {
    updateBlocks(of: weights) { weights, block in
      let direction = direction + block.lowerBound
      for index in 0..<block.count { weights[index] += size * direction[index] }
    }
  }

  /// Sums of squares of weights over fixed blocks, as ``squaredNorms(_:count:)`` has them of floats.
  ///
  /// - Parameter weights: the weights; blocks are counted from the first.
  /// - Returns: one sum a block; not finite where a weight of the block is not.
  public func squaredNorms(_ weights: MasterWeights) -> [Double] {
    let size = Compute.normBlock
    let blockCount = (weights.count + size - 1) / size
    return [Double](unsafeUninitializedCapacity: blockCount) { buffer, initialized in
      nonisolated(unsafe) let sums = buffer
      pool.run(blockCount) { block, thread in
        let range = block * size..<min(weights.count, (block + 1) * size)
        withScratch(range.count, thread: thread) { scratch in
          weights.read(range, into: scratch)
          sums[block] = squaredNorm(scratch, count: range.count)
        }
      }
      initialized = blockCount
    }
  }
}
