import Checkpoint
import Foundation
import JSONText
import Model

/// Says what a checkpoint, model folder, run folder, reference cache or data file holds.
///
/// - Parameters:
///   - path: what to look at.
///   - verifies: reads every byte of a checkpoint or reference cache and compares it with its checksums.
///   - data: how a data file is read.
/// - Returns: lines for a person.
/// - Throws: what is wrong with it; a checkpoint that is not whole.
public func inspect(
  path: String, verifies: Bool, data: InspectDataOptions = InspectDataOptions()
) throws -> String {
  var isFolder: ObjCBool = false
  let manager = FileManager.default
  guard manager.fileExists(atPath: path, isDirectory: &isFolder) else {
    throw DataError(
      path, "there is no such file or folder; give a checkpoint, a model folder or a JSONL file")
  }
  func holds(_ name: String) -> Bool { manager.fileExists(atPath: "\(path)/\(name)") }
  if !isFolder.boolValue { return try describeData(path, data) }
  if holds("MANIFEST") || holds("state.json") {
    return try describeCheckpoint(path, verifies: verifies)
  }
  if holds("adapter_config.json") { return try describeAdapter(path) }
  if holds("config.json") { return try describeModel(path) }
  if holds("checkpoints") {
    let newest = try newestCheckpoint(in: path + "/checkpoints")
    var lines = newest.skipped.map { "broken: \($0.path): \($0.reason)" }
    if let found = newest.found {
      lines.append("newest whole checkpoint: \(found.path)")
      lines.append(try describeCheckpoint(found.path, verifies: false))
    } else {
      lines.append("no whole checkpoint in \(path)/checkpoints")
    }
    return lines.joined(separator: "\n")
  }
  if isReferenceCache(path) { return try describeReferenceCache(path, verifies: verifies) }
  throw DataError(
    path, "neither a checkpoint (MANIFEST), a model folder (config.json) nor a run (checkpoints)")
}

private func describeCheckpoint(_ path: String, verifies: Bool) throws -> String {
  let name = PathParts(path).name
  guard name.hasPrefix("step-") else {
    throw CheckpointError("\(path) is no complete checkpoint: those are named step-…")
  }
  var lines: [String] = []
  if verifies {
    let entries = try verifyFolder(path)
    let bytes = entries.reduce(0) { $0 + $1.size }
    lines.append("whole: \(entries.count) files, \(bytes) bytes, all checksums agree")
  }
  let saved = try SavedState(folder: path)
  lines.append(
    "checkpoint of step \(saved.step): \(saved.floatCount) weights in "
      + "\(saved.slices.count) slices, \(saved.updateCount) updates, \(saved.tokenCount) tokens")
  if let first = saved.slices.first {
    let names = try PlaneFile(path: "\(path)/\(first.file)").arrays.map(\.name)
    lines.append("arrays: " + names.joined(separator: ", "))
  }
  lines.append("exports as \(saved.numberType.rawValue) unless told otherwise")
  return lines.joined(separator: "\n")
}

private func describeModel(_ path: String) throws -> String {
  let model = try ModelFolder(path: path)
  let stored = try model.storedWeights(in: path)
  let c = model.configuration
  // Every tensor that the architecture needs must be there with its shape.
  for parameter in model.table.parameters {
    guard let tensor = stored.tensor(named: parameter.name) else {
      throw CheckpointError("\(path): tensor \"\(parameter.name)\" is missing")
    }
    guard tensor.shape == parameter.shape else {
      throw CheckpointError(
        "\(path): tensor \"\(parameter.name)\" has shape \(tensor.shape), expected "
          + "\(parameter.shape)")
    }
  }
  let ends = model.endTokens.map { id in
    "\(id) (\(model.tokenizer.token(of: id) ?? "?"))"
  }
  let type = stored.numberType?.rawValue ?? "no"
  let windows = Set(c.windows.compactMap { $0 }).sorted().map(String.init)
  let window = windows.isEmpty ? "" : ", sliding window \(windows.joined(separator: ", "))"
  let embeddings =
    c.scoreHead.map { "reward head \($0.name)" }
    ?? (c.tiesEmbeddings ? "tied embeddings" : "untied embeddings")
  let endings = ends.isEmpty ? "none" : ends.joined(separator: ", ")
  return """
    \(c.family.modelType) decoder, \(model.table.parameterCount) parameters in \
    \(stored.tensors.count) tensors, \(type) numbers
    layers \(c.layerCount), hidden \(c.hiddenSize), feed-forward \(c.intermediateSize), heads \
    \(c.heads.queryCount) query and \(c.heads.keyValueCount) key/value of \(c.heads.size)
    vocabulary \(c.vocabularySize) (tokenizer \(model.tokenizer.vocabularySize)), \(embeddings)\
    \(window)
    end tokens: \(endings)
    """
}

private func describeAdapter(_ path: String) throws -> String {
  let model = try ModelFolder(path: path)
  guard let adapter = model.adapter else {
    throw ModelError("\(path): adapter_config.json cannot be read")
  }
  let c = adapter.configuration
  let base = try AdapterFolder.namedBase(of: path) ?? "not named"
  return """
    low-rank adapter, rank \(c.rank), alpha \(c.alpha)\(c.isRankStabilized ? ", rank-stabilised" : ""), \
    dropout \(c.dropout), \(adapter.table.parameterCount) parameters in \
    \(adapter.table.parameters.count) tensors
    targets: \(c.targets.joined(separator: ", "))
    base model: \(base)
    """
}
