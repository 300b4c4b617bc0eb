import Checkpoint
import Foundation

/// The lines of a JSONL file (UTF-8, one JSON object a line), one after the other.
///
/// Blank lines are skipped; a byte order mark at the start and carriage returns at line ends are let
/// pass. A file that is compressed by gzip or zstd is read as its content. Memory is that of the
/// longest line.
final class DataLines {
  private typealias Source = (UnsafeMutableRawBufferPointer) throws(CheckpointError) -> Int

  private let name: String
  private let source: Source
  private let input: DecompressedInput?
  private var buffer: [UInt8] = []
  /// Where the next line begins in `buffer`, and up to where no line break is.
  private var start = 0
  private var searched = 0
  private var isAtEnd = false
  private var number = 0
  private var hasLine = false

  private static let pieceBytes = 1 << 18
  /// More than any row has: a file without line breaks is no JSONL.
  private static let longestLine = 1 << 28

  /// The lines of a file; throws `DataError` if there is no such file.
  init(path: String) throws(DataError) {
    try checkDataFile(path)
    let input: DecompressedInput
    do throws(CheckpointError) { input = try DecompressedInput(path: path) } catch {
      throw DataError(error)
    }
    name = path
    self.input = input
    source = { buffer throws(CheckpointError) in try input.read(into: buffer) }
  }

  /// The lines of bytes in memory.
  init(_ bytes: [UInt8], name: String) {
    self.name = name
    input = nil
    var rest = bytes[...]
    source = { buffer in
      let count = min(buffer.count, rest.count)
      buffer.copyBytes(from: rest.prefix(count))
      rest = rest.dropFirst(count)
      return count
    }
  }

  /// The part of the file that was read, from 0 to 1.
  var share: Double {
    guard let input, input.storedBytes > 0 else { return 1 }
    return Double(input.readBytes) / Double(input.storedBytes)
  }

  /// The next line that is not blank, nil at the end.
  ///
  /// - Returns: the line with its place.
  /// - Throws: `DataError` if the file cannot be read, the line is no JSON object, or no line of the
  ///   file is anything but blank.
  func next() throws(DataError) -> DataLine? {
    while let line = try nextBytes() {
      number += 1
      if line.allSatisfy(Self.isBlank) { continue }
      hasLine = true
      return try DataLine(parsing: line, place: "\(name):\(number)")
    }
    guard hasLine else {
      throw DataError(name, "no usable row: the file is empty; give one JSON object a line")
    }
    return nil
  }

  private static func isBlank(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
  }

  /// The bytes of the next line, without its end; nil at the end of the file.
  private func nextBytes() throws(DataError) -> ArraySlice<UInt8>? {
    while true {
      if let end = lineEnd() {
        defer { (start, searched) = (end + 1, end + 1) }
        return buffer[start..<end]
      }
      searched = buffer.count
      if isAtEnd {
        guard start < buffer.count else { return nil }
        defer { (start, searched) = (buffer.count, buffer.count) }
        return buffer[start...]
      }
      guard buffer.count - start <= Self.longestLine else {
        throw DataError(
          "\(name):\(number + 1)",
          "the line is longer than \(Self.longestLine) bytes; write one JSON object a line")
      }
      try refill()
    }
  }

  private func lineEnd() -> Int? {
    buffer.withUnsafeBytes { raw in
      guard let base = raw.baseAddress, searched < raw.count,
        let found = memchr(base + searched, 0x0A, raw.count - searched)
      else { return nil }
      return UnsafeRawPointer(found) - base
    }
  }

  private func refill() throws(DataError) {
    let isFirst = buffer.isEmpty
    buffer.removeSubrange(..<start)
    searched -= start
    start = 0
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceBytes, alignment: 16)
    defer { piece.deallocate() }
    let count: Int
    do throws(CheckpointError) { count = try source(piece) } catch { throw DataError(error) }
    buffer += piece[..<count]
    isAtEnd = count == 0
    if isFirst, buffer.starts(with: [0xEF, 0xBB, 0xBF]) { (start, searched) = (3, 3) }
  }
}

/// Refuses a path that is no file.
func checkDataFile(_ path: String) throws(DataError) {
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
    throw DataError(path, "there is no such data file; check the path")
  }
  guard !isFolder.boolValue else {
    throw DataError(path, "this is a folder; give a JSONL file")
  }
}
