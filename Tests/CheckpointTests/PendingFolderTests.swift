import Foundation
import Testing

@testable import Checkpoint

@Suite("Folders that are complete or absent")
struct PendingFolderTests {
  /// A small complete folder with a folder in it.
  @discardableResult
  func complete(_ path: String) throws -> String {
    let folder = try PendingFolder(finalPath: path)
    try store(Array("numbers".utf8), folder.path + "/a.bin")
    try store([], folder.path + "/empty")
    try FileManager.default.createDirectory(
      atPath: folder.path + "/sub", withIntermediateDirectories: false)
    try store([1, 2, 3], folder.path + "/sub/b é.bin")
    try folder.complete()
    return path
  }

  @Test("What unfinished folders left is removed, nothing else")
  func partialFolders() throws {
    try withTemporaryFolder { path in
      try complete(path + "/step-00000002")
      _ = try PendingFolder(finalPath: path + "/step-00000004")
      try store([1], path + "/partial")
      #expect(try names(path) == ["partial", "partial-step-00000004", "step-00000002"])
      try removePartialFolders(in: path)
      #expect(try names(path) == ["partial", "step-00000002"])
      _ = try verifyFolder(path + "/step-00000002")
    }
  }

  func names(_ path: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  @Test("Known digests: those of xxh128sum")
  func digests() throws {
    try withTemporaryFolder { path in
      try store([], path + "/empty")
      #expect(try digest(ofFile: path + "/empty") == "99aa06d3014798d86001c324468d497f")
      try store(Array("abc".utf8), path + "/abc")
      #expect(try digest(ofFile: path + "/abc") == "06b05ab6733a618578af5f94892f3950")
    }
  }

  @Test("A complete folder has a manifest of everything in byte order")
  func manifest() throws {
    try withTemporaryFolder { path in
      let folder = try complete(path + "/runs/checkpoints/step-00000001/")
      let entries = try verifyFolder(folder)
      #expect(entries.map(\.path) == ["a.bin", "empty", "sub/b é.bin"])
      #expect(entries.map(\.size) == [7, 0, 3])
      #expect(isComplete(folder))
      #expect(try names(path + "/runs/checkpoints") == ["step-00000001"])
      let text = String(decoding: try fileBytes(folder + "/MANIFEST"), as: UTF8.self)
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(lines.count == 5)
      #expect(lines[1] == "99aa06d3014798d86001c324468d497f  0  empty")
      #expect(lines[3].hasSuffix("  manifest"))
      #expect(lines[4].isEmpty)
    }
  }

  @Test("Every flipped, added or removed byte of every file is detected")
  func everyByte() throws {
    try withTemporaryFolder { path in
      let folder = try complete(path + "/step-1")
      for name in ["a.bin", "empty", "sub/b é.bin", "MANIFEST"] {
        let file = folder + "/" + name
        let whole = try fileBytes(file)
        func check(_ bytes: [UInt8], _ comment: Comment) throws {
          try store(bytes, file)
          #expect(throws: CheckpointError.self, comment) { try verifyFolder(folder) }
        }
        for index in whole.indices {
          for bit in 0..<8 {
            var bytes = whole
            bytes[index] ^= 1 << UInt8(bit)
            try check(bytes, "\(name): bit \(bit) of byte \(index)")
          }
          var shorter = whole
          shorter.remove(at: index)
          try check(shorter, "\(name): without byte \(index)")
          try check(Array(whole[..<index]), "\(name): cut at \(index)")
        }
        for index in 0...whole.count {
          for byte in [0, 10, 13, 32, 48, 255] as [UInt8] {
            var longer = whole
            longer.insert(byte, at: index)
            try check(longer, "\(name): with \(byte) at \(index)")
          }
        }
        try store(whole, file)
        try verifyFolder(folder)
      }
    }
  }

  @Test("What is wrong is named")
  func problems() throws {
    try withTemporaryFolder { path in
      let folder = try complete(path + "/step-1")
      try store([1, 2, 4], folder + "/sub/b é.bin")
      try store([0], folder + "/empty")
      try store([0], folder + "/sub/more")
      try FileManager.default.removeItem(atPath: folder + "/a.bin")
      let message = sentence { try verifyFolder(folder) }
      #expect(message.contains("\"a.bin\" is missing"))
      #expect(message.contains("\"empty\" has 1 bytes, expected 0"))
      #expect(message.contains("\"sub/b é.bin\" has changed"))
      #expect(message.contains("\"sub/more\" is not listed"))
      try FileManager.default.removeItem(atPath: folder + "/MANIFEST")
      #expect(sentence { try verifyFolder(folder) }.contains("has no MANIFEST"))
      #expect(sentence { try verifyFolder(path + "/none") }.contains("there is no folder"))
      #expect(sentence { try verifyFolder(folder + "/empty") }.contains("Not a directory"))
      #expect(!isComplete(folder))
    }
  }

  @Test("A file replaced by a link to the same bytes is refused")
  func links() throws {
    try withTemporaryFolder { path in
      let folder = try complete(path + "/step-1")
      try FileManager.default.moveItem(atPath: folder + "/a.bin", toPath: path + "/a.bin")
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/a.bin", withDestinationPath: path + "/a.bin")
      #expect(sentence { try verifyFolder(folder) }.contains("neither a file nor a folder"))
    }
  }

  @Test("An unfinished folder is absent under its name; the next attempt begins anew")
  func unfinished() throws {
    try withTemporaryFolder { path in
      let first = try PendingFolder(finalPath: path + "/step-2")
      #expect(first.path == path + "/partial-step-2")
      #expect(first.path == PendingFolder.partialPath(for: path + "/step-2"))
      try store([1], first.path + "/stale")
      #expect(try names(path) == ["partial-step-2"])
      #expect(try newestCheckpoint(in: path).found == nil)
      #expect(sentence { try verifyFolder(first.path) }.contains("has no MANIFEST"))
      try complete(path + "/step-2")
      #expect(try names(path) == ["step-2"])
      #expect(try verifyFolder(path + "/step-2").count == 3)
    }
  }

  @Test("A whole folder is not overwritten, a broken one is set aside")
  func existing() throws {
    try withTemporaryFolder { path in
      let folder = try complete(path + "/step-1")
      #expect(sentence { _ = try PendingFolder(finalPath: folder) }.contains("already exists"))
      for _ in 0..<2 {
        try store([9], folder + "/a.bin")
        try complete(folder)
        #expect(isComplete(folder))
        #expect(try names(path) == ["broken-step-1", "step-1"])
      }
      let late = try PendingFolder(finalPath: path + "/step-2")
      try FileManager.default.copyItem(atPath: folder, toPath: path + "/step-2")
      #expect(sentence { try late.complete() }.contains("already exists"))
      try store([9], path + "/file")
      #expect(
        sentence { _ = try PendingFolder(finalPath: path + "/file") }.contains("not a folder"))
      #expect(
        sentence { _ = try PendingFolder(finalPath: path + "/file/step-1") }
          .contains("Not a directory"))
    }
  }

  @Test("Digests told by the writer are taken, their sizes checked")
  func hashed() throws {
    try withTemporaryFolder { path in
      let folder = try PendingFolder(finalPath: path + "/step-1")
      let told = try [Float(1), 2].withUnsafeBufferPointer {
        try writePlaneFile([("a", FloatSource($0))], path: folder.path + "/rank-0")
      }
      let good = ManifestEntry(path: "rank-0", size: told.size, digest: told.digest)
      var bad = good
      bad.size += 1
      #expect(sentence { try folder.complete(hashed: [bad]) }.contains("were written to it"))
      bad = good
      bad.path = "rank-1"
      #expect(sentence { try folder.complete(hashed: [good, bad]) }.contains("lacks \"rank-1\""))
      try folder.complete(hashed: [good])
      #expect(try verifyFolder(path + "/step-1") == [good])
    }
  }

  @Test("The newest whole checkpoint counts by number; broken ones are reported")
  func newest() throws {
    try withTemporaryFolder { path in
      #expect(try newestCheckpoint(in: path + "/none").found == nil)
      for name in ["step-00000009", "step-00000010", "step-100000000", "partial-step-3", "step-x"] {
        try complete(path + "/" + name)
      }
      try store([], path + "/step-99999999999999999999999")
      var newest = try newestCheckpoint(in: path)
      #expect(newest.found?.step == 100_000_000)
      #expect(newest.found?.path == path + "/step-100000000")
      #expect(newest.skipped.isEmpty)
      try store([1], path + "/step-100000000/more")
      try FileManager.default.removeItem(atPath: path + "/step-00000010/MANIFEST")
      newest = try newestCheckpoint(in: path)
      #expect(newest.found?.step == 9)
      #expect(newest.skipped.map(\.path) == [path + "/step-100000000", path + "/step-00000010"])
      #expect(newest.skipped.first?.reason.contains("\"more\" is not listed") == true)
      try removeFolder(path + "/step-00000009")
      #expect(try newestCheckpoint(in: path).found == nil)
      #expect(try !names(path).contains { $0.hasSuffix("00000009") })
      try removeFolder(path + "/step-00000009")
    }
  }

  @Test("A file written atomically replaces the old one or leaves it")
  func atomicFile() throws {
    try withTemporaryFolder { path in
      let file = path + "/run.json"
      try writeFileAtomically([1, 2], path: file)
      try writeFileAtomically([], path: file)
      #expect(try fileBytes(file) == [])
      try writeFileAtomically([3], path: file)
      try FileManager.default.createDirectory(
        atPath: file + ".partial", withIntermediateDirectories: false)
      #expect(sentence { try writeFileAtomically([4], path: file) }.contains("Is a directory"))
      #expect(try fileBytes(file) == [3])
      try FileManager.default.createDirectory(
        atPath: path + "/folder", withIntermediateDirectories: false)
      #expect(
        sentence { try writeFileAtomically([4], path: path + "/folder") }.contains("a folder"))
      #expect(try names(path) == ["folder", "run.json", "run.json.partial"])
    }
  }
}
