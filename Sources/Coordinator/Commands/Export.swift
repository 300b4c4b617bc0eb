import Checkpoint
import Foundation
import Model

/// Writes a checkpoint's weights as a Hugging Face model folder.
///
/// - Parameters:
///   - checkpoint: a `step-…` folder of a run.
///   - output: the folder to write; replaced if it exists and is a model folder.
///   - type: number type, nil for that of the run's starting folder.
/// - Throws: what is wrong with the checkpoint or the output.
public func export(checkpoint: String, output: String, type: NumberType?) throws {
  try verifyFolder(checkpoint)
  let saved = try SavedState(folder: checkpoint)
  let model = try ModelFolder(
    configuration: checkpoint + "/assets/config.json", tokenizer: checkpoint + "/assets")
  guard model.table.floatCount == saved.floatCount else {
    throw CheckpointError(
      "\(checkpoint): its assets/config.json describes \(model.table.floatCount) weights, its "
        + "slices hold \(saved.floatCount)")
  }
  let manager = FileManager.default
  if manager.fileExists(atPath: output),
    !manager.fileExists(atPath: output + "/config.json"),
    (try? manager.contentsOfDirectory(atPath: output).isEmpty) != true
  {
    throw DataError(
      output, "exists and is not a model folder; give --out a new or an empty folder")
  }
  let weights = UnsafeMutableBufferPointer<Float>.allocate(capacity: saved.floatCount)
  defer { weights.deallocate() }
  weights.initialize(repeating: 0)
  try saved.read("weights", range: 0..<saved.floatCount, into: weights)
  try writeModelFolder(
    output, placements: model.placements, weights: UnsafeBufferPointer(weights),
    type: type ?? saved.numberType, assets: model.assets)
}
