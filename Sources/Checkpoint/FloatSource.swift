/// Floats that are asked for piece by piece, so that they need not lie anywhere as floats.
public struct FloatSource {
  /// Number of floats.
  public let count: Int
  /// Copies the floats in a range to a buffer of just that size.
  public let read: (_ range: Range<Int>, _ target: UnsafeMutableBufferPointer<Float>) -> Void

  /// A source from its parts.
  public init(
    count: Int, read: @escaping (Range<Int>, UnsafeMutableBufferPointer<Float>) -> Void
  ) {
    self.count = count
    self.read = read
  }

  /// Floats in memory that outlives the source.
  public init(_ floats: UnsafeBufferPointer<Float>) {
    self.init(count: floats.count) { range, target in
      _ = target.update(fromContentsOf: floats[range])
    }
  }
}
