import Checkpoint
import Foundation
import Testing

/// Runs a test with a folder of its own, removed afterwards.
func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let path = NSTemporaryDirectory() + "checkpoint-tests-" + UUID().uuidString
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try body(path)
}

/// The folder of a stored reference file.
func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/safetensors/\(name)").path
}

func fileBytes(_ path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// Writes a new file and leaves it to the system when it reaches the disk, as `Data.write` does not.
func store(_ bytes: [UInt8], _ path: String) throws {
  unlink(path)
  let file = try #require(fopen(path, "w"), "cannot create \(path)")
  defer { fclose(file) }
  try #require(fwrite(bytes, 1, bytes.count, file) == bytes.count)
}

/// The sentence of the error that a call throws; a call that does not throw fails the test.
func sentence(
  _ location: SourceLocation = #_sourceLocation, of call: () throws -> Void
) -> String {
  do {
    try call()
    Issue.record("expected an error", sourceLocation: location)
    return ""
  } catch let error as CheckpointError {
    return error.description
  } catch {
    Issue.record("expected a CheckpointError, found \(error)", sourceLocation: location)
    return ""
  }
}

/// Placements of all tensors of a folder, one after the other, and the floats they take.
func placements(of folder: SafetensorsFolder) -> ([TensorPlacement], Int) {
  var placements: [TensorPlacement] = []
  var offset = 0
  for tensor in folder.tensors {
    placements.append(TensorPlacement(name: tensor.name, shape: tensor.shape, offset: offset))
    offset += tensor.shape.reduce(1, *)
  }
  return (placements, offset)
}

/// All numbers of a folder in the order of its tensors.
func numbers(of folder: SafetensorsFolder) throws -> [Float] {
  let (placements, count) = placements(of: folder)
  var floats = [Float](repeating: 99, count: count)
  try floats.withUnsafeMutableBufferPointer { try folder.read(placements, into: $0) }
  return floats
}

/// The bits of floats, so that NaN equals NaN and 0 differs from -0.
func bits(_ floats: [Float]) -> [UInt32] { floats.map(\.bitPattern) }

/// Reproducible draws for mutations (SplitMix64).
struct TestRandom: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// About normal, deviation 1: the centred sum of four uniform pieces of one draw.
  mutating func normal() -> Float {
    let draw = next()
    let pieces = (draw & 0xFFFF) + (draw >> 16 & 0xFFFF) + (draw >> 32 & 0xFFFF) + draw >> 48
    return (Float(pieces) * 0x1p-16 - 2) * 1.7320508
  }
}
