import Glibc

/// Writes a record file from its first record to its last; its name never stands for half of it.
///
/// The file is written beside its place under a name of this process, made durable and renamed, so
/// processes that write the same file at once do not meet. Keeps 16 bytes a record in memory.
public final class RecordFileWriter {
  /// The name of the whole file.
  public let path: String
  private let partialPath: String
  private var file: OutputFile
  private var waiting: [UInt8] = RecordFile.magic
  private var index: [UInt8] = []
  private var end = RecordFile.magic.count
  private var isComplete = false

  /// The number of records so far.
  public var count: Int { index.count / 16 }

  private static let pieceBytes = 1 << 20

  /// Begins a file, in a folder that is made where it does not exist.
  ///
  /// - Parameter path: the name of the whole file.
  /// - Throws: `CheckpointError` if folder or file cannot be made.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    try makeFolder(parentFolder(of: path))
    var host = [CChar](repeating: 0, count: 65)
    gethostname(&host, host.count - 1)
    let name = String(
      decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    partialPath = "\(path).\(name)-\(getpid()).partial"
    file = try OutputFile(path: partialPath)
  }

  deinit { if !isComplete { unlink(partialPath) } }

  /// Appends a record.
  ///
  /// - Parameter record: its bytes.
  /// - Throws: `CheckpointError` if it cannot be written.
  public func append(_ record: [UInt8]) throws(CheckpointError) {
    let hash = recordHash(record, count)
    waiting += record
    end += record.count
    withUnsafeBytes(of: UInt64(end).littleEndian) { index += $0 }
    withUnsafeBytes(of: hash.littleEndian) { index += $0 }
    if waiting.count >= RecordFileWriter.pieceBytes { try flush() }
  }

  /// Ends the file and gives it its name.
  ///
  /// - Parameter description: what is to be known of the file without reading a record.
  /// - Throws: `CheckpointError` if it cannot be written.
  public func complete(description: [UInt8]) throws(CheckpointError) {
    precondition(
      description.count <= RecordFile.longestDescription, "a description must be short")
    try flush()
    try file.write(index)
    var footer: [UInt8] = []
    for number in [count, end, description.count] {
      withUnsafeBytes(of: UInt64(number).littleEndian) { footer += $0 }
    }
    let digest = digest(ofBytes: footer + description)
    try file.write(description + footer + Array(digest.utf8) + RecordFile.magic)
    _ = try file.synchronize()
    guard rename(partialPath, path) == 0 else {
      throw .system("rename the finished file to", path)
    }
    isComplete = true
    try synchronizeFolder(parentFolder(of: path))
  }

  private func flush() throws(CheckpointError) {
    try file.write(waiting)
    waiting.removeAll(keepingCapacity: true)
  }
}
