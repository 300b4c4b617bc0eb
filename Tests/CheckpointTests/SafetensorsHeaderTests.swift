import Foundation
import Testing

@testable import Checkpoint

@Suite("Safetensors: what is refused")
struct SafetensorsHeaderTests {
  /// The bytes of a file with this header and so many bytes of data.
  func file(_ header: String, dataBytes: Int, length: UInt64? = nil) -> [UInt8] {
    let length = length ?? UInt64(header.utf8.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + header.utf8
      + [UInt8](repeating: 0, count: dataBytes)
  }

  func refusal(_ bytes: [UInt8]) throws -> String {
    try withTemporaryFolder { path in
      try store(bytes, path + "/model.safetensors")
      let message = sentence { _ = try SafetensorsFolder(path: path) }
      #expect(message.contains("\(path)/model.safetensors"))
      return message
    }
  }

  @Test(
    "Damaged headers",
    arguments: [
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "needs 8 bytes"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5, "5 follow the header"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 3, "ends at byte 4 of 3"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "leave a hole"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, 4, "ascending"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "ascending"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, 4, "two ascending"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}}"#, 4, "two ascending"),
      (#"{"a":{"dtype":"F32","shape":[1]}}"#, 4, "data_offsets"),
      (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "0 or more"),
      (#"{"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}"#, 4, "shape"),
      (#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4, "shape"),
      (#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, 4, "dtype"),
      (#"{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}"#, 4, "dtype"),
      (#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4, #"unknown dtype "F31""#),
      (#"{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,0]}}"#, 0, "needs 0 bytes"),
      (
        #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0,
        "impossible shape"
      ),
      (
        #"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#, 0,
        "impossible shape"
      ),
      (
        #"{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,0]}}"#, 0,
        "no \"shape\" of integers"
      ),
      (
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775807]}}"#, 4,
        "of 4 bytes of data"
      ),
      (
        #"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
        4, "overlap"
      ),
      (
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
        2, "overlap"
      ),
      (
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
        4, "duplicate"
      ),
      (#"{"__metadata__":{"a":1}}"#, 0, "object of strings"),
      (#"{"__metadata__":[]}"#, 0, "object of strings"),
      (#"{"a":[]}"#, 0, "dtype"), (#"[]"#, 0, "begin with {"), (#" {}"#, 0, "begin with {"),
      (#"{"#, 0, "not valid JSON"), (#"{} x"#, 0, "not valid JSON"), ("", 0, "begin with {"),
      (String(repeating: #"{"a":"#, count: 5000), 0, "not valid JSON"),
    ] as [(String, Int, String)])
  func damaged(header: String, dataBytes: Int, reason: String) throws {
    let message = try refusal(file(header, dataBytes: dataBytes))
    #expect(message.contains(reason))
  }

  @Test("Lying header lengths")
  func lengths() throws {
    #expect(try refusal([]).contains("expected at least 8"))
    #expect(try refusal(file("{}", dataBytes: 0, length: 3)).contains("only 2 bytes follow"))
    #expect(try refusal(file("{}", dataBytes: 0, length: .max)).contains("at most 100000000"))
    #expect(try refusal(file("{}", dataBytes: 0, length: 1 << 63)).contains("at most"))
    #expect(try refusal(file("{}", dataBytes: 0, length: 100_000_001)).contains("at most"))
    #expect(try refusal(file("{}", dataBytes: 0, length: 0)).contains("begin with {"))
  }

  @Test("What looks odd but is right")
  func accepted() throws {
    try withTemporaryFolder { path in
      let header = #"""
        {"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"z":{"dtype":"F16","shape":[0,9],\#
        "data_offsets":[4,4]},"n":{"dtype":"F4","shape":[4],"data_offsets":[4,6]}, \#
        "__metadata__":{}}
        """#
      try store(file(header + "  \n", dataBytes: 6), path + "/model.safetensors")
      let folder = try SafetensorsFolder(path: path)
      #expect(folder.tensors.map(\.name) == ["b", "z", "n"])
      try store(file("{}", dataBytes: 0), path + "/model.safetensors")
      let empty = try SafetensorsFolder(path: path)
      #expect(empty.tensors.isEmpty)
      #expect(empty.numberType == nil)
    }
  }

  @Test("A file cut anywhere, or longer by a byte, is refused")
  func truncated() throws {
    let whole = try fileBytes(fixture("bf16") + "/model.safetensors")
    try withTemporaryFolder { path in
      for count in 0..<whole.count {
        try store(Array(whole[..<count]), path + "/model.safetensors")
        #expect(throws: CheckpointError.self, "cut at \(count)") {
          try SafetensorsFolder(path: path)
        }
      }
      try store(whole + [0], path + "/model.safetensors")
      #expect(throws: CheckpointError.self) { try SafetensorsFolder(path: path) }
    }
  }

  @Test("A file cut after its header was read is an error, no trap")
  func cutLater() throws {
    let whole = try fileBytes(fixture("f32") + "/model.safetensors")
    try withTemporaryFolder { path in
      try store(whole, path + "/model.safetensors")
      let folder = try SafetensorsFolder(path: path)
      try store(Array(whole.dropLast(3)), path + "/model.safetensors")
      #expect(sentence { _ = try numbers(of: folder) }.contains("cut off"))
    }
  }

  @Test("Random mutations are read or refused, never a trap")
  func mutations() throws {
    let whole = try fileBytes(fixture("bf16") + "/model.safetensors")
    let headerEnd = 8 + Int(whole[0]) + Int(whole[1]) << 8
    var random = TestRandom(state: 1)
    var refusedCount = 0
    try withTemporaryFolder { path in
      for _ in 0..<1500 {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          let place = Int.random(in: 0..<headerEnd, using: &random)
          switch Int.random(in: 0..<4, using: &random) {
          case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
          case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
          case 2: bytes.remove(at: place)
          default: bytes.insert(UInt8(ascii: "9"), at: place)
          }
        }
        try store(bytes, path + "/model.safetensors")
        do {
          _ = try numbers(of: SafetensorsFolder(path: path))
        } catch is CheckpointError {
          refusedCount += 1
        }
      }
    }
    #expect(refusedCount > 500)
  }
}
