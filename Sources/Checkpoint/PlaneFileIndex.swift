import CZstd

/// The layout of a plane file: arrays of 32-bit floats, compressed so that ranges can be read.
///
/// - 8 bytes `SAILPLN1`;
/// - the blocks of all arrays without gaps. A block is `blockLength` numbers, the last one of an
///   array fewer; it is four zstd frames with checksums, one a byte plane;
/// - the index, little-endian: block length (u32), number of arrays (u32); an array is the length
///   of its name (u32), the name in UTF-8, the count of numbers (u64), and a block is the sizes of
///   its four frames (4 × u32);
/// - the index's size (u64), its XXH3 hash (32 hex digits), 8 bytes `SAILPLN1`.
///
/// Positions are sums of sizes, so blocks cannot overlap. The planes are those of the number's bits
/// rotated left by one: the exponent, all that compresses, is then a byte of its own (plane 3).
struct PlaneFileIndex: Sendable {
  /// One array's place in the file.
  struct Entry: Sendable {
    var name: String
    /// How many numbers it has.
    var count: Int
    /// Where its first frame begins.
    var start: Int
    /// The sizes of its frames, four a block.
    var frameBytes: [Int]
  }

  static let magic = Array("SAILPLN1".utf8)
  static let footerBytes = 48
  /// The longest block that is read: it bounds the memory that a lying file can ask for.
  static let longestBlock = 1 << 24
  static let longestIndexBytes = 100_000_000

  var blockLength: Int
  var entries: [Entry]

  /// The index and the end of the file.
  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    func append(_ value: Int, byteCount: Int) {
      for index in 0..<byteCount {
        bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index)))
      }
    }
    append(blockLength, byteCount: 4)
    append(entries.count, byteCount: 4)
    for entry in entries {
      append(entry.name.utf8.count, byteCount: 4)
      bytes += entry.name.utf8
      append(entry.count, byteCount: 8)
      for size in entry.frameBytes { append(size, byteCount: 4) }
    }
    let digest = digest(ofBytes: bytes)
    append(bytes.count, byteCount: 8)
    return bytes + digest.utf8 + PlaneFileIndex.magic
  }

  /// Reads and validates the index of an open file.
  init(of file: borrowing InputFile) throws(CheckpointError) {
    let path = file.path
    func refuse(_ reason: String) -> CheckpointError {
      CheckpointError("\(quoted(path)) is not a whole plane file: \(reason)")
    }
    let magicBytes = PlaneFileIndex.magic.count
    let outerBytes = magicBytes + PlaneFileIndex.footerBytes
    guard file.size >= outerBytes else {
      throw refuse("it has \(file.size) bytes, expected at least \(outerBytes)")
    }
    let footer = try file.bytes(
      count: PlaneFileIndex.footerBytes, at: file.size - PlaneFileIndex.footerBytes)
    guard try file.bytes(count: magicBytes, at: 0) == PlaneFileIndex.magic,
      footer.suffix(magicBytes).elementsEqual(PlaneFileIndex.magic)
    else { throw refuse("it does not begin and end with SAILPLN1") }
    var footerFields = ByteFields(footer)
    // The limit is for sparse files, whose size backs up nothing: 25 TB of floats need this much.
    guard let indexBytes = footerFields.integer(byteCount: 8),
      indexBytes <= min(file.size - outerBytes, PlaneFileIndex.longestIndexBytes)
    else { throw refuse("its index would be longer than the file or the limit") }
    let indexStart = file.size - PlaneFileIndex.footerBytes - indexBytes
    let bytes = try file.bytes(count: indexBytes, at: indexStart)
    guard digest(ofBytes: bytes).utf8.elementsEqual(footer[8..<40]) else {
      throw refuse("its index does not match its checksum")
    }
    var fields = ByteFields(bytes)
    guard let blockLength = fields.integer(byteCount: 4), let count = fields.integer(byteCount: 4),
      1...PlaneFileIndex.longestBlock ~= blockLength
    else { throw refuse("its block length is not 1 to \(PlaneFileIndex.longestBlock)") }
    var position = magicBytes
    var entries: [Entry] = []
    var names: Set<[UInt8]> = []
    for _ in 0..<count {
      guard let entry = fields.entry(blockLength: blockLength, start: &position) else {
        throw refuse("its index ends within array \(entries.count), or has impossible sizes")
      }
      guard names.insert(Array(entry.name.utf8)).inserted else {
        throw refuse("two arrays are named \(quoted(entry.name))")
      }
      entries.append(entry)
    }
    guard fields.isAtEnd, position == indexStart else {
      throw refuse("its blocks end at byte \(position), its index begins at \(indexStart)")
    }
    self.blockLength = blockLength
    self.entries = entries
  }

  /// An index of nothing yet.
  init(blockLength: Int) {
    self.blockLength = blockLength
    entries = []
  }
}

extension ByteFields {
  fileprivate mutating func entry(blockLength: Int, start: inout Int) -> PlaneFileIndex.Entry? {
    guard let nameBytes = integer(byteCount: 4), let name = bytes(count: nameBytes),
      let text = String(validating: name, as: UTF8.self), let count = integer(byteCount: 8)
    else { return nil }
    let blockCount = count / blockLength + (count % blockLength == 0 ? 0 : 1)
    // 16 bytes of index a block: a count that the file does not back up ends here.
    guard blockCount <= rest.count / 16 else { return nil }
    var entry = PlaneFileIndex.Entry(name: text, count: count, start: start, frameBytes: [])
    entry.frameBytes.reserveCapacity(4 * blockCount)
    let bound = ZSTD_compressBound(blockLength)
    for _ in 0..<(4 * blockCount) {
      guard let size = integer(byteCount: 4), size <= bound,
        case let (end, isOverflow) = start.addingReportingOverflow(size), !isOverflow
      else { return nil }
      entry.frameBytes.append(size)
      start = end
    }
    return entry
  }
}
