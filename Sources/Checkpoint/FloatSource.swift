/// Floats that are asked for piece by piece, so that they need not lie anywhere as floats.
public struct FloatSource {
  /// Number of floats.
  public let count: Int
  /// Gives the floats in a range: where they lie, or in `scratch`, which has room for them.
  let floats:
    (_ range: Range<Int>, _ scratch: UnsafeMutableBufferPointer<Float>) -> UnsafeBufferPointer<
      Float
    >

  /// Floats that are made when they are asked for.
  ///
  /// - Parameters:
  ///   - count: number of floats.
  ///   - read: copies the floats in a range to a buffer of just that size.
  public init(
    count: Int, read: @escaping (Range<Int>, UnsafeMutableBufferPointer<Float>) -> Void
  ) {
    self.count = count
    floats = { range, scratch in
      let target = UnsafeMutableBufferPointer(rebasing: scratch[..<range.count])
      read(range, target)
      return UnsafeBufferPointer(target)
    }
  }

  /// Floats in memory that outlives the source.
  public init(_ floats: UnsafeBufferPointer<Float>) {
    count = floats.count
    self.floats = { range, _ in UnsafeBufferPointer(rebasing: floats[range]) }
  }
}
