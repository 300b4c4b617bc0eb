import Foundation
import Testing

@testable import Checkpoint

@Suite struct RecordFileTests {
  private static let records: [[UInt8]] = [
    [], [1, 2, 3], [], Array(repeating: 7, count: 2_000_000), [1, 2, 3],
  ]

  private func withFile(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("sail-records-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder + "/inner/a.records")
  }

  private func write(_ records: [[UInt8]], _ path: String) throws {
    let writer = try RecordFileWriter(path: path)
    for record in records { try writer.append(record) }
    #expect(writer.count == records.count)
    try writer.complete(description: Array("said".utf8))
  }

  @Test(arguments: [0, 1, 5])
  func recordsComeBackInAnyOrder(count: Int) throws {
    try withFile { path in
      let records = Array(Self.records[..<count])
      try write(records, path)
      let file = try RecordFile(path: path)
      #expect(file.count == count && file.description == Array("said".utf8))
      for number in (0..<count).reversed() { #expect(try file.record(number) == records[number]) }
      try file.verify()
      let names = try FileManager.default.contentsOfDirectory(
        atPath: (path as NSString).deletingLastPathComponent)
      #expect(names == ["a.records"])
    }
  }

  @Test func anUnfinishedFileLeavesNothing() throws {
    try withFile { path in
      do {
        let writer = try RecordFileWriter(path: path)
        try writer.append([1])
      }
      let names = try FileManager.default.contentsOfDirectory(
        atPath: (path as NSString).deletingLastPathComponent)
      #expect(names.isEmpty)
    }
  }

  /// A file that is cut anywhere, or has any one bit changed, is refused or found damaged.
  @Test func damageIsFound() throws {
    try withFile { path in
      try write([[5, 6], [], [7, 8, 9]], path)
      let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
      for count in 0..<whole.count {
        try Data(whole[..<count]).write(to: URL(fileURLWithPath: path))
        #expect(throws: CheckpointError.self) { try RecordFile(path: path).verify() }
      }
      for index in whole.indices {
        for bit in [0, 7] {
          var changed = whole
          changed[index] ^= 1 << bit
          try Data(changed).write(to: URL(fileURLWithPath: path))
          #expect(throws: CheckpointError.self, "byte \(index)") {
            try RecordFile(path: path).verify()
          }
        }
      }
    }
  }
}
