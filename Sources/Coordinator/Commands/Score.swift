import Checkpoint
import Comm
import Foundation
import JSONText
import Model

/// What `sail score` is asked.
public struct ScoreOptions: Sendable {
  /// Model folder or adapter folder.
  public var model: String
  /// Folder of the base model of adapter folders, nil for the one that each names.
  public var base: String?
  /// Preference pairs.
  public var data: DataOptions
  /// File to write.
  public var output: String
  /// Reference folder, nil for none.
  public var reference: String?
  /// Threads and number type.
  public var compute: ComputeOptions

  /// Options from their parts.
  public init(
    model: String, base: String? = nil, data: DataOptions, output: String, reference: String?,
    compute: ComputeOptions
  ) {
    self.model = model
    self.base = base
    self.data = data
    self.output = output
    self.reference = reference
    self.compute = compute
  }
}

// Pairs scored together.
private let scoreBatch = 8

/// Writes the summed log-probabilities of pairs, one line a pair in the order of the data; collective.
///
/// - Parameters:
///   - options: model, data, output.
///   - communicator: all ranks.
/// - Returns: the exit code.
/// - Throws: what is wrong with model or data.
public func score(_ options: ScoreOptions, communicator: borrowing Communicator) throws -> Int32 {
  let progress = ProgressLine(style: .auto, isShown: communicator.rank == 0)
  let lines = try communicator.agree {
    try checkWritable(options.output)
    return try options.data.rows(for: .pairs())
  }
  let model = try LoadedModel(
    path: options.model, use: .probabilities("sail score"), base: options.base,
    reference: options.reference,
    compute: options.compute,
    communicator: communicator)
  let rows = try communicator.agree {
    try everyPair(try options.data.texts(lines, for: model.folder), of: model.folder)
  }
  let results = try mapRows(
    count: rows.count, batch: scoreBatch, what: "score", progress: progress,
    communicator: communicator
  ) { range in
    let families = range.map {
      PromptFamily(prompt: rows[$0].prompt, completions: [rows[$0].chosen, rows[$0].rejected])
    }
    let sums = model.worker.logProbabilities(of: families)
    let references =
      model.reference == nil ? nil : model.worker.referenceLogProbabilities(of: families)
    return range.enumerated().map { position, index in
      var line = MetricLine()
      line.add("logps/chosen", sums[position][0])
      line.add("logps/rejected", sums[position][1])
      if let references {
        line.add("ref_logps/chosen", references[position][0])
        line.add("ref_logps/rejected", references[position][1])
      }
      line.add("chosen_tokens", rows[index].chosen.count)
      line.add("rejected_tokens", rows[index].rejected.count)
      return Array(line.json.text.utf8)
    }
  }
  try writeLines(results, to: options.output, communicator: communicator)
  return 0
}

/// Refuses an output that could not be written, before the work is done.
///
/// - Parameters:
///   - name: what was given.
///   - option: the option that it was given to, for the message.
/// - Throws: `DataError` with the reason.
func checkWritable(_ name: String, option: String = "--out") throws(DataError) {
  let manager = FileManager.default
  var isFolder: ObjCBool = false
  if manager.fileExists(atPath: name, isDirectory: &isFolder), isFolder.boolValue {
    throw DataError(name, "is a folder; \(option) wants a file to write")
  }
  let path: String
  switch OutputPlace(of: name) {
  case .file(let target): path = target
  case .descriptor: return
  case .stream:
    guard manager.isWritableFile(atPath: name) || !manager.fileExists(atPath: name) else {
      throw DataError(name, "cannot be written: no permission to write to it")
    }
    return
  }
  let parent = PathParts(path).folder
  let folder = parent.isEmpty ? "." : parent
  guard manager.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
    throw DataError(path, "cannot be written: there is no folder \(folder); make it first")
  }
  guard manager.isWritableFile(atPath: folder) else {
    throw DataError(path, "cannot be written: no permission to write in \(folder)")
  }
}

/// Writes lines to a file that is whole or absent, by rank 0; collective.
func writeLines(
  _ lines: [[UInt8]], to path: String, communicator: borrowing Communicator
) throws {
  let isLeader = communicator.rank == 0
  try communicator.agree {
    if isLeader {
      try writeFileAtomically(
        lines.reduce(into: []) { $0 += $1 + [UInt8(ascii: "\n")] }, path: path)
    }
  }
}
