import Foundation
import Testing

@testable import Checkpoint

/// Files written by the reference implementation (Tests/Fixtures/safetensors/make.py).
@Suite("Safetensors against the reference implementation")
struct SafetensorsFixtureTests {
  @Test("Reads what the reference wrote", arguments: NumberType.allCases)
  func reading(type: NumberType) throws {
    let name = type.rawValue.lowercased()
    let folder = try SafetensorsFolder(path: fixture(name))
    #expect(folder.numberType == type)
    #expect(folder.tensors.count == 7)
    let expected = try SafetensorsFolder(path: fixture(type == .f32 ? name : "\(name)-as-f32"))
    #expect(
      folder.tensors.map { Array($0.name.utf8) } == expected.tensors.map { Array($0.name.utf8) })
    #expect(bits(try numbers(of: folder)) == bits(try numbers(of: expected)))
  }

  @Test("Names that differ only in Unicode composition are two tensors")
  func composition() throws {
    let folder = try SafetensorsFolder(path: fixture("bf16"))
    var floats = [Float](repeating: 0, count: 4)
    try floats.withUnsafeMutableBufferPointer { buffer in
      try folder.read(
        [
          TensorPlacement(name: "caf\u{E9}", shape: [2], offset: 2),
          TensorPlacement(name: "cafe\u{301}", shape: [2], offset: 0),
        ], into: buffer)
    }
    #expect(floats == [3, 4, 1, 2])
  }

  @Test("Writes the reference's bytes", arguments: NumberType.allCases)
  func writing(type: NumberType) throws {
    let source = try SafetensorsFolder(path: fixture("f32"))
    let floats = try numbers(of: source)
    let (placements, _) = placements(of: source)
    try withTemporaryFolder { path in
      try floats.withUnsafeBufferPointer {
        try writeSafetensors(
          placements: placements.reversed(), from: FloatSource($0), type: type, folder: path)
      }
      let written = try fileBytes(path + "/model.safetensors")
      #expect(
        written == (try fileBytes(fixture(type.rawValue.lowercased()) + "/model.safetensors")))
      #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["model.safetensors"])
    }
  }

  @Test("Shards hold what the single file holds")
  func shards() throws {
    let whole = try SafetensorsFolder(path: fixture("whole"))
    let sharded = try SafetensorsFolder(path: fixture("sharded"))
    #expect(sharded.files.count == 3)
    #expect(sharded.numberType == .bf16)
    let (placements, count) = placements(of: whole)
    #expect(count == 1256)
    var floats = [Float](repeating: 0, count: count)
    try floats.withUnsafeMutableBufferPointer { try sharded.read(placements, into: $0) }
    #expect(bits(floats) == bits(try numbers(of: whole)))
  }

  @Test("Other types are described, skipped unless asked for, and refused by name")
  func mixed() throws {
    let folder = try SafetensorsFolder(path: fixture("mixed"))
    #expect(
      Set(folder.tensors.map(\.storedType)) == ["I64", "BOOL", "U8", "F64", "BF16", "F32"])
    var floats = [Float](repeating: 7, count: 6)
    try floats.withUnsafeMutableBufferPointer { buffer in
      try folder.read(
        [
          TensorPlacement(name: "single", shape: [1], offset: 5),
          TensorPlacement(name: "half", shape: [2], offset: 1),
        ], into: buffer)
    }
    #expect(floats == [7, 1.5, -2.5, 7, 7, 0.1])
    for (name, type, count) in [("double", "F64", 1), ("ids", "I64", 5), ("mask", "BOOL", 3)] {
      let message = sentence {
        try floats.withUnsafeMutableBufferPointer { buffer in
          try folder.read([TensorPlacement(name: name, shape: [count], offset: 0)], into: buffer)
        }
      }
      #expect(message.contains("tensor \"\(name)\" has type \(type), expected F32, BF16 or F16"))
    }
  }
}
