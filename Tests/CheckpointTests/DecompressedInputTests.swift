import CZlib
import CZstd
import Foundation
import Testing

@testable import Checkpoint

@Suite struct DecompressedInputTests {
  /// Text that compresses, longer than any buffer.
  private static let content = (0..<60_000).flatMap { Array("line \($0 * $0 % 9973)\n".utf8) }

  private static func gzip(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(
      &stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    defer { deflateEnd(&stream) }
    var input = bytes
    var output = [UInt8](repeating: 0, count: bytes.count + 1000)
    let room = output.count
    input.withUnsafeMutableBufferPointer { source in
      output.withUnsafeMutableBufferPointer { target in
        stream.next_in = source.baseAddress
        stream.avail_in = UInt32(source.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(room)
        deflate(&stream, Z_FINISH)
      }
    }
    return Array(output[..<(room - Int(stream.avail_out))])
  }

  private static func zstd(_ bytes: [UInt8]) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
    let count = ZSTD_compress(&output, output.count, bytes, bytes.count, 3)
    return Array(output[..<count])
  }

  private func read(_ path: String, pieceBytes: Int = 100_000) throws -> [UInt8] {
    let input = try DecompressedInput(path: path)
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 16)
    defer { piece.deallocate() }
    var result: [UInt8] = []
    while case let count = try input.read(into: piece), count > 0 { result += piece[..<count] }
    #expect(input.readBytes == input.storedBytes)
    return result
  }

  private func read(_ bytes: [UInt8], pieceBytes: Int = 100_000) throws -> [UInt8] {
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("sail-input-\(UUID().uuidString)").path
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try read(path, pieceBytes: pieceBytes)
  }

  @Test(arguments: [7, 4096, 1_000_000])
  func contentComesBack(pieceBytes: Int) throws {
    let content = Self.content
    for stored in [content, Self.gzip(content), Self.zstd(content)] {
      #expect(try read(stored, pieceBytes: pieceBytes) == content)
    }
  }

  @Test func emptyAndShortFiles() throws {
    for content in [[], [0x1F], Array("{}".utf8)] as [[UInt8]] {
      #expect(try read(content) == content)
      #expect(try read(Self.gzip(content)) == content)
      #expect(try read(Self.zstd(content)) == content)
    }
  }

  @Test func partsFollowEachOther() throws {
    let (first, second) = (Array(Self.content[..<500]), Self.content)
    #expect(try read(Self.gzip(first) + Self.gzip(second)) == first + second)
    #expect(try read(Self.zstd(first) + Self.zstd([]) + Self.zstd(second)) == first + second)
    let padding = [UInt8](repeating: 0, count: 700)
    #expect(try read(Self.gzip(first) + padding) == first)
  }

  @Test func filesThatEndEarly() throws {
    let content = Array(Self.content[..<3000])
    for (kind, stored) in [("gzip", Self.gzip(content)), ("zstd", Self.zstd(content))] {
      for count in 4..<stored.count {
        let error = #expect(throws: CheckpointError.self) { try read(Array(stored[..<count])) }
        #expect(error?.description.contains("\(kind) data ends early") == true, "\(kind) \(count)")
      }
      // In the second part.
      let error = #expect(throws: CheckpointError.self) {
        try read(stored + stored[..<(stored.count / 2)])
      }
      #expect(error?.description.contains("ends early") == true)
    }
  }

  @Test func damagedFiles() throws {
    let content = Array(Self.content[..<3000])
    for (kind, stored) in [("gzip", Self.gzip(content)), ("zstd", Self.zstd(content))] {
      let junk = #expect(throws: CheckpointError.self) { try read(stored + [1, 2, 3, 4, 5, 6]) }
      #expect(
        junk?.description.contains("\(kind) data is damaged") == true, "\(junk?.description ?? "")")
      var flipped = stored
      flipped[stored.count / 2] ^= 0x55
      // Damage in the middle gives an error or, in zstd without a checksum, other content.
      let result = try? read(flipped)
      #expect(result != content)
    }
  }
}
