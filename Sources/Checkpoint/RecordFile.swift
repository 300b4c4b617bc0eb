import CXXHash
import Glibc

/// A file of records of any length that are read one by one by their number.
///
/// - 8 bytes `SAILREC1`;
/// - the records without gaps;
/// - the index, two little-endian u64 a record: where it ends, and the XXH3 hash (64 bits, seed: the
///   record's number) of its bytes;
/// - the writer's description, bytes of any kind;
/// - the footer: record count, start of the index, length of the description (u64 each), the XXH3
///   hash (128 bits, 32 hex digits) of those and the description, 8 bytes `SAILREC1`.
///
/// Opening reads the footer and description only; a record is checked against its hash when it is
/// read, which finds damage of the index as well. Read, not mapped: a mapped file that somebody
/// truncates ends the process.
public final class RecordFile {
  static let magic = Array("SAILREC1".utf8)
  static let footerBytes = 3 * 8 + 32 + 8
  /// More than any description has: it bounds the memory that a lying file can ask for.
  static let longestDescription = 1 << 20

  /// The file.
  public let path: String
  /// The number of records.
  public let count: Int
  /// What its writer said of it.
  public let description: [UInt8]
  /// The bytes of the file.
  public var sizeBytes: Int { file.size }

  private let file: InputFile
  private let indexStart: Int

  /// Opens a file.
  ///
  /// - Parameter path: the file.
  /// - Throws: `CheckpointError` if it cannot be read or is not whole.
  public init(path: String) throws(CheckpointError) {
    let file = try InputFile(path: path)
    func refuse(_ reason: String) -> CheckpointError {
      CheckpointError("\(quoted(path)) is not a whole record file: \(reason)")
    }
    let magicBytes = RecordFile.magic.count
    guard file.size >= magicBytes + RecordFile.footerBytes else {
      throw refuse("it has \(file.size) bytes")
    }
    let footer = try file.bytes(
      count: RecordFile.footerBytes, at: file.size - RecordFile.footerBytes)
    guard footer.suffix(magicBytes).elementsEqual(RecordFile.magic),
      try file.bytes(count: magicBytes, at: 0) == RecordFile.magic
    else { throw refuse("it does not begin and end with SAILREC1") }
    var fields = ByteFields(footer)
    guard let count = fields.integer(byteCount: 8), let indexStart = fields.integer(byteCount: 8),
      let length = fields.integer(byteCount: 8), length <= RecordFile.longestDescription,
      count <= file.size / 16, indexStart >= magicBytes, indexStart <= file.size,
      indexStart + 16 * count + length + RecordFile.footerBytes == file.size
    else { throw refuse("its parts do not fit its size") }
    let description = try file.bytes(count: length, at: indexStart + 16 * count)
    guard digest(ofBytes: footer[..<24] + description).utf8.elementsEqual(footer[24..<56]) else {
      throw refuse("its footer has another checksum")
    }
    self.path = path
    self.count = count
    self.description = description
    self.indexStart = indexStart
    self.file = file
  }

  /// A record.
  ///
  /// - Parameter number: its number, from 0 and below `count`.
  /// - Returns: its bytes.
  /// - Throws: `CheckpointError` if the file cannot be read or the record is damaged.
  public func record(_ number: Int) throws(CheckpointError) -> [UInt8] {
    precondition(0..<count ~= number, "a record file is asked for a record that it does not have")
    // The end of the record before, its hash, the own end and hash.
    let isFirst = number == 0
    var fields = ByteFields(
      try file.bytes(
        count: isFirst ? 16 : 32, at: indexStart + 16 * max(0, number - 1)))
    var start: Int? = RecordFile.magic.count
    if !isFirst {
      start = fields.integer(byteCount: 8)
      _ = fields.integer(byteCount: 4)
      _ = fields.integer(byteCount: 4)
    }
    let end = fields.integer(byteCount: 8)
    let low = fields.integer(byteCount: 4)
    let high = fields.integer(byteCount: 4)
    guard let start, let end, let low, let high, start >= RecordFile.magic.count, start <= end,
      end <= indexStart
    else { throw damaged(number) }
    let bytes = try file.bytes(count: end - start, at: start)
    guard recordHash(bytes, number) == UInt64(high) << 32 | UInt64(low) else {
      throw damaged(number)
    }
    return bytes
  }

  /// Reads every record; throws `CheckpointError` if one is damaged.
  public func verify() throws(CheckpointError) {
    for number in 0..<count { _ = try record(number) }
  }

  private func damaged(_ number: Int) -> CheckpointError {
    CheckpointError("\(quoted(path)): record \(number) is damaged")
  }
}

/// The hash of a record, which depends on its number, so that no record passes for another.
func recordHash(_ bytes: [UInt8], _ number: Int) -> UInt64 {
  bytes.withUnsafeBytes {
    XXH3_64bits_withSeed($0.baseAddress, $0.count, UInt64(truncatingIfNeeded: number))
  }
}
