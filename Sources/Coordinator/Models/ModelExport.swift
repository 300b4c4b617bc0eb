import Checkpoint
import Foundation
import JSONText

/// Writes a Hugging Face model folder: weights, configuration, tokenizer.
///
/// The folder appears whole or not at all; one that exists is replaced.
/// - Parameters:
///   - folder: what to write.
///   - placements: the weights' tensors.
///   - weights: the flat allocation.
///   - type: number type of the file.
///   - assets: files that go along; `config.json` gets the number type.
/// - Throws: `CheckpointError` or `DataError` if the folder cannot be written.
func writeModelFolder(
  _ folder: String, placements: [TensorPlacement], weights: UnsafeBufferPointer<Float>,
  type: NumberType, assets: [(name: String, bytes: [UInt8])]
) throws {
  let manager = FileManager.default
  let partial = PendingFolder.partialPath(for: folder)
  try removeFolder(partial)
  do {
    try manager.createDirectory(atPath: partial, withIntermediateDirectories: true)
  } catch {
    throw DataError(partial, "the folder cannot be made: \(error.localizedDescription)")
  }
  try writeSafetensors(placements: placements, from: weights, type: type, folder: partial)
  for asset in assets {
    let bytes =
      asset.name == "config.json"
      ? try configuration(asset.bytes, numberType: type) : asset.bytes
    try writeFileAtomically(bytes, path: "\(partial)/\(asset.name)")
  }
  let old = "\(partial)-replaced"
  do {
    if manager.fileExists(atPath: folder) { try manager.moveItem(atPath: folder, toPath: old) }
    try manager.moveItem(atPath: partial, toPath: folder)
  } catch {
    throw DataError(folder, "the folder cannot be written: \(error.localizedDescription)")
  }
  try removeFolder(old)
}

/// A configuration whose number type is the one that is written, else byte for byte.
private func configuration(_ bytes: [UInt8], numberType: NumberType) throws -> [UInt8] {
  var json = try parseJSON(bytes, source: "config.json")
  let name: String
  switch numberType {
  case .f32: name = "float32"
  case .bf16: name = "bfloat16"
  case .f16: name = "float16"
  }
  guard case .object(var members) = json else { return bytes }
  var isChanged = false
  for index in members.indices where ["dtype", "torch_dtype"].contains(members[index].key) {
    if members[index].value.string != name {
      members[index].value = .string(name)
      isChanged = true
    }
  }
  if !isChanged { return bytes }
  json = .object(members)
  return Array((json.indentedText + "\n").utf8)
}
