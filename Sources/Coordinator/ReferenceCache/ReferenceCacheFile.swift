import Checkpoint
import Foundation
import JSONText

/// log π_ref of a pair's two responses.
struct ReferenceSums: Equatable, BitwiseCopyable {
  var first: Double
  var second: Double
}

/// The file of one reference in a folder that runs share.
///
/// A record file: each record, the least that damage spoils, is up to 64 entries in the order of their keys, an entry four
/// little-endian 64-bit words (key: high, low; bits of the two sums); the description is the identity of
/// the reference and the number of entries.
struct ReferenceCacheFile {
  /// The file.
  let path: String
  /// What the sums depend on beside the pairs.
  let identity: JSON

  private static let entryBytes = 32
  private static let entriesARecord = 64
  static let suffix = ".logps"

  /// The file of a reference in a folder.
  init(folder: String, identity: JSON) {
    self.identity = identity
    path = "\(folder)/\(digest(ofBytes: Array(identity.text.utf8)))\(Self.suffix)"
  }

  /// All entries, none if there is no file; of a damaged file those that are whole.
  ///
  /// - Returns: the entries, and what is wrong with the file.
  func read() -> (entries: [ContentHash: ReferenceSums], damage: CheckpointError?) {
    var entries: [ContentHash: ReferenceSums] = [:]
    var damage: CheckpointError?
    guard FileManager.default.fileExists(atPath: path) else { return (entries, nil) }
    do throws(CheckpointError) {
      let file = try RecordFile(path: path)
      guard let description = ReferenceCacheDescription(file),
        description.identity.text == identity.text
      else { throw CheckpointError("\(path) is of another reference than its name says") }
      entries.reserveCapacity(description.count)
      for number in 0..<file.count {
        do throws(CheckpointError) {
          Self.add(try file.record(number), to: &entries)
        } catch { damage = error }
      }
    } catch { damage = error }
    return (entries, damage)
  }

  /// Puts entries in the place of the file's.
  func write(_ entries: [ContentHash: ReferenceSums]) throws(CheckpointError) {
    let writer = try RecordFileWriter(path: path)
    var record: [UInt8] = []
    for key in entries.keys.sorted() {
      guard let sums = entries[key] else { continue }
      for word in [key.high, key.low, sums.first.bitPattern, sums.second.bitPattern] {
        withUnsafeBytes(of: word.littleEndian) { record += $0 }
      }
      if record.count == Self.entryBytes * Self.entriesARecord {
        try writer.append(record)
        record.removeAll(keepingCapacity: true)
      }
    }
    if !record.isEmpty { try writer.append(record) }
    try writer.complete(
      description: Array(
        ReferenceCacheDescription(identity: identity, count: entries.count).json.text.utf8))
  }

  private static func add(
    _ record: [UInt8], to entries: inout [ContentHash: ReferenceSums]
  ) {
    record.withUnsafeBytes { raw in
      func word(_ offset: Int) -> UInt64 {
        UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      }
      for start in stride(from: 0, through: raw.count - entryBytes, by: entryBytes) {
        entries[ContentHash(high: word(start), low: word(start + 8))] = ReferenceSums(
          first: Double(bitPattern: word(start + 16)), second: Double(bitPattern: word(start + 24)))
      }
    }
  }
}

/// What a file of the reference cache says of itself.
struct ReferenceCacheDescription {
  let identity: JSON
  let count: Int

  init(identity: JSON, count: Int) {
    self.identity = identity
    self.count = count
  }

  /// The description of a file, nil if it has none.
  init?(_ file: RecordFile) {
    guard let json = try? JSON(parsing: file.description), let identity = json["identity"],
      let count = json["entries"]?.integer, 0...(file.sizeBytes / 32) ~= count
    else { return nil }
    self.init(identity: identity, count: count)
  }

  var json: JSON { ["identity": identity, "entries": .integer(Int64(count))] }
}
