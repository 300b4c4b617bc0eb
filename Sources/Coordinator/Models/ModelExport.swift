import Checkpoint
import Foundation
import JSONText
import Model

/// Weights and files that make a Hugging Face model folder or a PEFT adapter folder.
struct ExportedFolder {
  /// The tensors.
  var placements: [TensorPlacement]
  /// The flat allocation.
  var weights: FloatSource
  /// File name of the weights before `.safetensors`.
  var stem = "model"
  /// Files that go along; `config.json` gets the number type.
  var assets: [(name: String, bytes: [UInt8])]

  /// Writes the folder; it appears whole or not at all, one that exists is replaced.
  ///
  /// - Parameters:
  ///   - folder: what to write.
  ///   - type: number type of the weights.
  ///   - shardBytes: the most bytes of numbers in a file, unless one tensor is larger.
  /// - Throws: `CheckpointError` or `DataError` if the folder cannot be written.
  func write(to folder: String, type: NumberType, shardBytes: Int = 5_000_000_000) throws {
    let manager = FileManager.default
    let partial = PendingFolder.partialPath(for: folder)
    try removeFolder(partial)
    try makeFolder(partial)
    try writeSafetensors(
      placements: placements, from: weights, type: type, shardBytes: shardBytes, folder: partial,
      stem: stem)
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
}

extension ModelFolder {
  /// The folder of a trained adapter: PEFT's files and the tokenizer.
  func exportedAdapter(
    _ adapter: AdapterConfiguration, _ table: AdapterTable, weights: FloatSource
  ) -> ExportedFolder {
    let ofBase = ["config.json", "generation_config.json"]
    return ExportedFolder(
      placements: table.placements, weights: weights, stem: "adapter_model",
      assets: assets.filter { !ofBase.contains($0.name) } + [adapterAsset(adapter)])
  }

  /// An adapter's `adapter_config.json`, its base named by a path that is good from anywhere.
  func adapterAsset(_ adapter: AdapterConfiguration) -> (name: String, bytes: [UInt8]) {
    let base: String
    switch weightSource {
    case .folder(let path): base = URL(fileURLWithPath: path).standardizedFileURL.path
    case .random(let configuration, _): base = configuration
    }
    return ("adapter_config.json", Array((adapter.json(base: base).indentedText + "\n").utf8))
  }
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
