import Foundation
import Testing

@testable import Checkpoint

@Suite("Safetensors folders")
struct SafetensorsFolderTests {
  let placements = [
    TensorPlacement(name: "c", shape: [3], offset: 0),
    TensorPlacement(name: "a", shape: [2, 2], offset: 3),
    TensorPlacement(name: "b", shape: [5], offset: 7),
  ]
  let floats = (0..<12).map { Float($0) + 0.5 }

  func write(_ path: String, shardBytes: Int = 5_000_000_000, type: NumberType = .f32) throws {
    try floats.withUnsafeBufferPointer {
      try writeSafetensors(
        placements: placements, from: FloatSource($0), type: type, shardBytes: shardBytes,
        folder: path)
    }
  }

  func names(_ path: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  @Test(
    "Shards hold at most so many bytes, or one tensor",
    arguments: [
      (1, ["a", "b", "c"]), (16, ["a", "b", "c"]), (31, ["a", "b", "c"]), (32, ["a", "bc"]),
      (36, ["ab", "c"]), (47, ["ab", "c"]), (48, ["abc"]),
    ] as [(Int, [String])])
  func sharding(shardBytes: Int, expected: [String]) throws {
    try withTemporaryFolder { path in
      try write(path, shardBytes: shardBytes)
      let folder = try SafetensorsFolder(path: path)
      let count = expected.count
      #expect(
        folder.files
          == (count == 1
            ? ["model.safetensors"]
            : (1...count).map { "model-0000\($0)-of-0000\(count).safetensors" }))
      #expect(folder.tensors.map(\.name).joined() == "abc")
      for (index, shard) in expected.enumerated() {
        #expect(folder.tensors.filter { $0.file == index }.map(\.name).joined() == shard)
      }
      var back = [Float](repeating: 0, count: 12)
      try back.withUnsafeMutableBufferPointer { try folder.read(placements, into: $0) }
      #expect(back == floats)
    }
  }

  @Test("Writing again leaves no file of the earlier set and nothing else is touched")
  func replacing() throws {
    try withTemporaryFolder { path in
      let others = ["config.json", "model-1-of-2.safetensors", "adapter_model.safetensors"]
      for name in others { try store([1], "\(path)/\(name)") }
      try write(path, shardBytes: 1)
      #expect(try names(path).count == 4 + others.count)
      let shards = try fileBytes(path + "/model-00001-of-00003.safetensors")
      try write(path)
      #expect(try names(path) == (others + ["model.safetensors"]).sorted())
      try write(path, shardBytes: 1)
      #expect(try names(path).count == 4 + others.count)
      #expect(try fileBytes(path + "/model-00001-of-00003.safetensors") == shards)
    }
  }

  @Test("The order of the placements and where they lie change no byte")
  func bytesOfWeightsAlone() throws {
    try withTemporaryFolder { path in
      try write(path, type: .bf16)
      let first = try fileBytes(path + "/model.safetensors")
      let moved = [
        TensorPlacement(name: "b", shape: [5], offset: 20),
        TensorPlacement(name: "a", shape: [2, 2], offset: 9),
        TensorPlacement(name: "c", shape: [3], offset: 1),
      ]
      var other = [Float](repeating: -1, count: 25)
      other.replaceSubrange(20..<25, with: floats[7..<12])
      other.replaceSubrange(9..<13, with: floats[3..<7])
      other.replaceSubrange(1..<4, with: floats[0..<3])
      try other.withUnsafeBufferPointer {
        try writeSafetensors(placements: moved, from: FloatSource($0), type: .bf16, folder: path)
      }
      #expect(try fileBytes(path + "/model.safetensors") == first)
      #expect(first.count % 8 == 0 && (Int(first[0]) + Int(first[1]) << 8) % 8 == 0)
    }
  }

  @Test("Pieces larger than the buffer arrive whole", arguments: NumberType.allCases)
  func large(type: NumberType) throws {
    let count = (1 << 22) / type.byteCount + 3
    let source = (0..<count).map { Float($0 % 251) }
    let placement = [TensorPlacement(name: "w", shape: [count], offset: 0)]
    try withTemporaryFolder { path in
      try source.withUnsafeBufferPointer {
        try writeSafetensors(placements: placement, from: FloatSource($0), type: type, folder: path)
      }
      #expect(try numbers(of: SafetensorsFolder(path: path)) == source)
    }
  }

  @Test("Reading names what does not fit")
  func mismatches() throws {
    try withTemporaryFolder { path in
      try write(path)
      let folder = try SafetensorsFolder(path: path)
      var target = [Float](repeating: 0, count: 4)
      func message(_ name: String, _ shape: [Int], _ offset: Int = 0) -> String {
        sentence {
          try target.withUnsafeMutableBufferPointer { buffer in
            try folder.read(
              [TensorPlacement(name: name, shape: shape, offset: offset)], into: buffer)
          }
        }
      }
      #expect(message("d", [2]).contains("\"d\" is missing"))
      #expect(message("a", [4]).contains("expected [4], found [2, 2]"))
      #expect(message("a", [2, 2], 1).contains("don't fit a buffer of 4"))
      #expect(target == [0, 0, 0, 0])
    }
  }

  @Test("Writing names what cannot be written")
  func unwritable() throws {
    try withTemporaryFolder { path in
      func message(_ names: [String], _ value: Float, _ type: NumberType, to folder: String)
        -> String
      {
        let placements = names.map { TensorPlacement(name: $0, shape: [1], offset: 0) }
        return sentence {
          try [value].withUnsafeBufferPointer {
            try writeSafetensors(
              placements: placements, from: FloatSource($0), type: type, folder: folder)
          }
        }
      }
      #expect(message(["x", "x"], 0, .f32, to: path).contains("two tensors are named \"x\""))
      #expect(message(["__metadata__"], 0, .f32, to: path).contains("__metadata__"))
      #expect(message(["x"], 70000, .f16, to: path).contains("\"x\" has a finite number too large"))
      #expect(message(["x"], 3.4e38, .bf16, to: path).contains("write F32"))
      #expect(try names(path) == [])
      let absent = message(["x"], 0, .f32, to: path + "/absent")
      #expect(absent.contains("No such file or directory") && absent.contains("/absent/model"))
      try store([1], path + "/file")
      #expect(message(["x"], 0, .f32, to: path + "/file").contains("Not a directory"))
      try FileManager.default.createSymbolicLink(
        atPath: path + "/model.safetensors.partial", withDestinationPath: "/dev/full")
      let full = message(["x"], 0, .f32, to: path)
      #expect(full.contains("No space left on device") && full.contains("free some space"))
      #expect(try names(path) == ["file"])
    }
  }

  @Test("An index must agree with the shards")
  func index() throws {
    try withTemporaryFolder { path in
      try write(path, shardBytes: 1)
      let indexPath = path + "/model.safetensors.index.json"
      let good = String(decoding: try fileBytes(indexPath), as: UTF8.self)
      func message(replacing old: String, with new: String) throws -> String {
        try store(Array(good.replacingOccurrences(of: old, with: new).utf8), indexPath)
        return sentence { _ = try SafetensorsFolder(path: path) }
      }
      #expect(
        try message(replacing: #""b": "model-00002"#, with: #""b": "model-00007"#)
          .contains("lacks the shard \"model-00007-of-00003.safetensors\""))
      #expect(
        try message(replacing: #""b": "model-00002"#, with: #""b": "model-00001"#)
          .contains("but no shard has it"))
      #expect(
        try message(
          replacing: #""a": "model-00001-of-00003.safetensors""#,
          with: #""a": "model-00003-of-00003.safetensors", "d": "model-00001-of-00003.safetensors""#
        ).contains("but it is in \"model-00001-of-00003.safetensors\""))
      #expect(try message(replacing: #""b":"#, with: #""d":"#).contains("but no shard has it"))
      #expect(try message(replacing: "model-00002", with: "../model-00002").contains("plain file"))
      #expect(try message(replacing: "weight_map", with: "weights").contains("weight_map"))
      #expect(try message(replacing: "}", with: "").contains("not valid JSON"))
      #expect(try message(replacing: #""a":"#, with: #""c":"#).contains("duplicate"))
      let extra = path + "/model-00003-of-00003.safetensors"
      let header =
        #"{"c":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"e":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#
      try store([UInt8(header.utf8.count), 0, 0, 0, 0, 0, 0, 0] + header.utf8 + [0, 0], extra)
      #expect(try message(replacing: "x-x", with: "").contains("does not list tensor \"e\""))
      let twice = header.replacingOccurrences(of: "\"e\"", with: "\"a\"")
      try store([UInt8(twice.utf8.count), 0, 0, 0, 0, 0, 0, 0] + twice.utf8 + [0, 0], extra)
      #expect(try message(replacing: "x-x", with: "").contains("\"a\" is both in"))
    }
  }

  @Test("A folder without weights, and things that are no files")
  func absent() throws {
    try withTemporaryFolder { path in
      #expect(
        sentence { _ = try SafetensorsFolder(path: path) }.contains("neither model.safetensors"))
      try FileManager.default.createDirectory(
        atPath: path + "/model.safetensors", withIntermediateDirectories: false)
      #expect(sentence { _ = try SafetensorsFolder(path: path) }.contains("Is a directory"))
      #expect(mkfifo(path + "/pipe.safetensors", 0o600) == 0)
      #expect(
        sentence { _ = try SafetensorsFolder(path: path, stem: "pipe") }
          .contains("not a regular file"))
    }
  }
}
