import Foundation
import Testing

@testable import Checkpoint

@Suite("Plane files")
struct PlaneFileTests {
  /// A file of three arrays (100, 0 and 37 numbers) in blocks of 16, and the first array.
  func write(_ path: String) throws -> (first: [Float], last: [Float]) {
    var random = TestRandom(state: 3)
    var first = (0..<100).map { _ in random.normal() * 0.02 }
    first[3] = .nan
    first[4] = Float(bitPattern: 0xFFA0_0001)
    first[5] = -.infinity
    first[6] = -0.0
    first[7] = .leastNonzeroMagnitude
    first[99] = .greatestFiniteMagnitude
    let last = (0..<37).map { Float($0) }
    try first.withUnsafeBufferPointer { first in
      try last.withUnsafeBufferPointer { last in
        _ = try writePlaneFile(
          [
            ("first", FloatSource(first)),
            ("empty", FloatSource(UnsafeBufferPointer(rebasing: last[..<0]))),
            ("last", FloatSource(last)),
          ],
          path: path, blockLength: 16)
      }
    }
    return (first, last)
  }

  func read(_ file: PlaneFile, _ name: String, _ range: Range<Int>) throws -> [Float] {
    var floats = [Float](repeating: 5, count: range.count)
    try floats.withUnsafeMutableBufferPointer { try file.read(name, range: range, into: $0) }
    return floats
  }

  @Test("Every range of every array comes back with every bit")
  func ranges() throws {
    try withTemporaryFolder { path in
      let (first, last) = try write(path + "/state")
      let file = try PlaneFile(path: path + "/state")
      #expect(file.arrays.map(\.name) == ["first", "empty", "last"])
      #expect(file.arrays.map(\.count) == [100, 0, 37])
      #expect(file.count(of: "last") == 37)
      #expect(file.count(of: "none") == nil)
      #expect(try read(file, "empty", 0..<0).isEmpty)
      #expect(bits(try read(file, "first", 0..<100)) == bits(first))
      for lower in 0...37 {
        for upper in lower...37 {
          #expect(try read(file, "last", lower..<upper) == Array(last[lower..<upper]))
          let wanted = bits(Array(first[lower..<(upper + 40)]))
          #expect(bits(try read(file, "first", lower..<(upper + 40))) == wanted)
        }
      }
      #expect(sentence { _ = try read(file, "last", 30..<38) }.contains("37 numbers"))
      #expect(sentence { _ = try read(file, "last", -1..<3) }.contains("37 numbers"))
      #expect(sentence { _ = try read(file, "none", 0..<1) }.contains("has no array \"none\""))
    }
  }

  @Test("The usual block length, the digest told, and bytes that depend on the numbers alone")
  func usual() throws {
    var random = TestRandom(state: 9)
    let count = usualBlockLength + 1000
    let weights = (0..<count).map { _ in random.normal() * 0.02 }
    try withTemporaryFolder { path in
      try weights.withUnsafeBufferPointer { weights in
        let told = try writePlaneFile([("weights", FloatSource(weights))], path: path + "/one")
        #expect(told.digest == (try digest(ofFile: path + "/one")))
        #expect(told.size == (try fileBytes(path + "/one").count))
        #expect(
          told == (try writePlaneFile([("weights", FloatSource(weights))], path: path + "/two")))
        // Of 32 bits the exponent's 8 need about 2.6.
        #expect(Double(told.size) / Double(4 * count) < 0.86)
      }
      let file = try PlaneFile(path: path + "/one")
      let range = (usualBlockLength - 5)..<(usualBlockLength + 7)
      #expect(try read(file, "weights", range) == Array(weights[range]))
    }
  }

  @Test("Cut anywhere, a file is refused")
  func truncated() throws {
    try withTemporaryFolder { path in
      _ = try write(path + "/state")
      let whole = try fileBytes(path + "/state")
      for count in 0..<whole.count {
        try store(Array(whole[..<count]), path + "/state")
        #expect(throws: CheckpointError.self, "cut at \(count)") {
          try PlaneFile(path: path + "/state")
        }
      }
    }
  }

  @Test("A changed byte anywhere is an error or changes no number")
  func everyByte() throws {
    try withTemporaryFolder { path in
      let (first, last) = try write(path + "/state")
      let whole = try fileBytes(path + "/state")
      var harmlessCount = 0
      for index in whole.indices {
        for change in [0x01, 0x80, 0xFF] as [UInt8] {
          var bytes = whole
          bytes[index] ^= change
          try store(bytes, path + "/state")
          do {
            let file = try PlaneFile(path: path + "/state")
            #expect(bits(try read(file, "first", 0..<100)) == bits(first), "byte \(index)")
            #expect(try read(file, "last", 0..<37) == last, "byte \(index)")
            harmlessCount += 1
          } catch is CheckpointError {}
        }
      }
      // zstd's frame header has a bit that readers must ignore.
      #expect(harmlessCount < whole.count / 50)
    }
  }

  @Test("Random mutations are errors or change no number")
  func mutations() throws {
    var random = TestRandom(state: 17)
    try withTemporaryFolder { path in
      let (first, _) = try write(path + "/state")
      let whole = try fileBytes(path + "/state")
      for _ in 0..<1000 {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          let place = Int.random(in: bytes.indices, using: &random)
          switch Int.random(in: 0..<3, using: &random) {
          case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
          case 1: bytes.remove(at: place)
          default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
          }
        }
        try store(bytes, path + "/state")
        do {
          let file = try PlaneFile(path: path + "/state")
          #expect(bits(try read(file, "first", 0..<100)) == bits(first))
        } catch is CheckpointError {}
      }
    }
  }

  @Test("An index that lies under a right checksum is an error")
  func lies() throws {
    try withTemporaryFolder { path in
      _ = try write(path + "/state")
      let whole = try fileBytes(path + "/state")
      let honest = try PlaneFileIndex(of: InputFile(path: path + "/state"))
      let blocks = whole[..<(whole.count - honest.bytes.count)]
      #expect(Array(blocks) + honest.bytes == whole)
      func message(_ change: (inout PlaneFileIndex) -> Void) throws -> String {
        var index = honest
        change(&index)
        try store(blocks + index.bytes, path + "/state")
        return sentence {
          let file = try PlaneFile(path: path + "/state")
          for (name, count) in file.arrays where count < 1 << 20 {
            _ = try read(file, name, 0..<count)
          }
        }
      }
      #expect(try message { $0.entries[0].count = 1 << 62 }.contains("impossible"))
      #expect(try message { $0.entries[0].count = .max }.contains("impossible"))
      #expect(try message { $0.entries[0].count = -1 }.contains("impossible"))
      #expect(try message { $0.entries[0].count = 101 }.contains("damaged"))
      #expect(try message { $0.entries[0].frameBytes[2] = 0xFFFF_FFFF }.contains("impossible"))
      #expect(try message { $0.entries[0].frameBytes[2] += 1 }.contains("blocks end at"))
      #expect(
        try message {
          $0.entries[0].frameBytes[2] += 1
          $0.entries[0].frameBytes[3] -= 1
        }.contains("damaged"))
      #expect(try message { $0.entries.swapAt(0, 2) }.contains("damaged"))
      #expect(try message { $0.entries[2].name = "first" }.contains("two arrays"))
      #expect(try message { $0.entries.removeLast() }.contains("blocks end at"))
      #expect(try message { $0.blockLength = 0 }.contains("block length"))
      #expect(try message { $0.blockLength = 0xFFFF_FFFF }.contains("block length"))
      #expect(try message { $0.blockLength = 32 }.contains("not a whole plane file"))
    }
  }

  @Test("A number of arrays or a name longer than the index")
  func shortIndex() throws {
    try withTemporaryFolder { path in
      for body in [
        [16, 0, 0, 0, 255, 255, 255, 255], [16, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255],
        [16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0], [], [16, 0, 0, 0],
      ] as [[UInt8]] {
        let count = [UInt8(body.count), 0, 0, 0, 0, 0, 0, 0]
        let file = PlaneFileIndex.magic + body + count + digest(ofBytes: body).utf8
        try store(file + PlaneFileIndex.magic, path + "/state")
        #expect(
          sentence { _ = try PlaneFile(path: path + "/state") }.contains("not a whole plane file"))
      }
    }
  }

  @Test("A sparse file cannot make its index huge")
  func sparse() throws {
    try withTemporaryFolder { path in
      let size = 1 << 40
      try store(PlaneFileIndex.magic, path + "/state")
      let file = try #require(fopen(path + "/state", "r+"))
      defer { fclose(file) }
      try #require(ftruncate(fileno(file), size) == 0)
      let indexBytes = UInt64(size - 8 - PlaneFileIndex.footerBytes)
      let footer =
        (0..<8).map { UInt8(truncatingIfNeeded: indexBytes >> (8 * UInt64($0))) }
        + [UInt8](repeating: 0, count: 32) + PlaneFileIndex.magic
      try #require(fseek(file, size - PlaneFileIndex.footerBytes, SEEK_SET) == 0)
      try #require(fwrite(footer, 1, footer.count, file) == footer.count && fflush(file) == 0)
      #expect(sentence { _ = try PlaneFile(path: path + "/state") }.contains("or the limit"))
    }
  }

  @Test("What cannot be written")
  func unwritable() throws {
    try withTemporaryFolder { path in
      func message(_ names: [String], _ file: String) -> String {
        sentence {
          try [Float(1)].withUnsafeBufferPointer { numbers in
            _ = try writePlaneFile(names.map { ($0, FloatSource(numbers)) }, path: file)
          }
        }
      }
      #expect(message(["a", "a"], path + "/x").contains("named \"a\""))
      #expect(message(["a"], path + "/no/x").contains("No such file"))
      let left = try FileManager.default.contentsOfDirectory(atPath: path)
      #expect(left == [])
    }
  }
}
