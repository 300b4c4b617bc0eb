/// Which row of several files stands at which position of an epoch, before the epoch is shuffled.
///
/// A file of n rows and weight w has round(w · n) positions in every epoch, at least one; they follow
/// each other in the order of the files. With a whole weight each row comes w times; otherwise the
/// positions go on in the next epoch where they ended, over a fixed scattered order of the rows, so
/// that over all epochs every row comes equally often. A row is computed from its position alone.
public struct EpochMixture: Sendable, Equatable {
  private struct Part: Sendable, Equatable {
    var firstRow: Int
    var rowCount: Int
    var firstPosition: Int
    var positionCount: Int
    /// What the scattered order goes on by; has no divisor in common with the count.
    var stride: Int
  }

  private let parts: [Part]
  /// The number of positions of an epoch.
  public let positionCount: Int

  /// The largest number of positions of a file.
  private static let largestCount = 1 << 40

  /// A mixture.
  ///
  /// - Parameter files: rows and weight of each file; rows are counted through all files.
  public init(_ files: [(rows: Int, weight: Double)]) {
    var parts: [Part] = []
    var (row, position) = (0, 0)
    for file in files where file.rows > 0 {
      let exact = (file.weight * Double(file.rows)).rounded()
      let count = Int(min(max(exact, 1), Double(Self.largestCount)))
      let isWhole = count % file.rows == 0
      parts.append(
        Part(
          firstRow: row, rowCount: file.rows, firstPosition: position, positionCount: count,
          stride: isWhole ? 1 : Self.scatteringStride(file.rows)))
      row += file.rows
      position += count
    }
    self.parts = parts
    positionCount = position
  }

  /// One file, each row once in an epoch.
  init(rowCount: Int) { self.init([(rows: rowCount, weight: 1)]) }

  /// The row at a position.
  ///
  /// - Parameters:
  ///   - position: from 0 and below `positionCount`.
  ///   - epoch: counted from 0.
  /// - Returns: the row, counted through all files.
  public func row(position: Int, epoch: Int) -> Int {
    guard
      let part = parts.last(where: { $0.firstPosition <= position })
    else { preconditionFailure("a mixture is asked for a position that it does not have") }
    let rows = UInt64(part.rowCount)
    // (epoch · positions + offset) mod rows, without a product that is too large.
    let turn =
      (UInt64(epoch) % rows).multipliedFullWidth(by: UInt64(part.positionCount) % rows)
    let start = rows.dividingFullWidth(turn).remainder
    let step = (start + UInt64(position - part.firstPosition)) % rows
    let scattered = rows.dividingFullWidth(step.multipliedFullWidth(by: UInt64(part.stride)))
    return part.firstRow + Int(scattered.remainder)
  }

  /// The number nearest the golden section of a count that has no divisor in common with it.
  private static func scatteringStride(_ count: Int) -> Int {
    var stride = max(1, Int(Double(count) * 0.618_033_988_749_895))
    while greatestCommonDivisor(stride, count) > 1 { stride += 1 }
    return stride
  }

  private static func greatestCommonDivisor(_ first: Int, _ second: Int) -> Int {
    second == 0 ? first : greatestCommonDivisor(second, first % second)
  }
}
