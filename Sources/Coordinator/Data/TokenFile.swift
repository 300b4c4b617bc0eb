import Checkpoint
import Glibc
import JSONText

/// The tokenised rows of one data file, read one by one.
struct TokenFile {
  private let records: RecordFile
  /// What became of the data file's rows.
  let counts: RowCounts
  /// The data file.
  let source: String

  /// Files up to this size are checked whole before they are trusted.
  private static let wholeCheckBytes = 1 << 28

  /// The number of rows.
  var count: Int { records.count }

  /// Opens a token file.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - source: the data file.
  ///   - checks: whether the records are read and checked now, as far as the file is not too large for
  ///     that; each is checked when it is used anyway.
  /// - Throws: `CheckpointError` if it is not whole.
  init(path: String, source: String, checks: Bool) throws(CheckpointError) {
    records = try RecordFile(path: path)
    self.source = source
    guard let json = try? JSON(parsing: records.description), let counts = RowCounts(json),
      counts.usable == records.count
    else { throw CheckpointError("\(path) is not a whole token file: its counts are damaged") }
    self.counts = counts
    if checks, records.sizeBytes <= Self.wholeCheckBytes { try records.verify() }
  }

  /// A row.
  ///
  /// - Parameter row: its number, below `count`.
  /// - Returns: its record.
  /// - Throws: `DataError` if it is damaged; the file is then removed, so that the next start makes it
  ///   anew.
  func record(_ row: Int) throws(DataError) -> TokenRecord {
    let reason: String
    do throws(CheckpointError) {
      if let record = TokenRecord(try records.record(row)) { return record }
      reason = "\(records.path): record \(row) is no row"
    } catch {
      reason = error.description
    }
    unlink(records.path)
    throw DataError(
      source,
      "its tokens in the cache are damaged (\(reason)); they were removed: go on with --resume auto, "
        + "which tokenises the file anew")
  }
}
