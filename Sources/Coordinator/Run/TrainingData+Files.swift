import Checkpoint
import Comm
import Foundation
import JSONText

extension DataRows.Purpose {
  /// What a run reads a file for.
  init(_ configuration: RunConfiguration, forEvaluation: Bool) {
    if configuration.method == .sft {
      self = .completions
    } else if configuration.trainsOnPromptsAlone {
      self = .prompts(keepingResponses: forEvaluation)
    } else {
      self = .pairs(
        hint: "; rows with only a prompt need online fractions (sail.dpp.fraction, "
          + "sail.dpr.fraction) that sum to 1, with method: sail and a sail.ddp.fraction of 0")
    }
  }
}

extension TrainingData {
  /// Opens the token files of a run's data files, and makes those that do not exist; collective.
  ///
  /// Rank 0 makes what is missing while the others wait. Where another node does not see the result,
  /// as with a folder of its own disk, that node's first rank makes it there too. Without a cache,
  /// each rank makes its own, under no name that stays.
  /// - Parameters:
  ///   - files: the data files.
  ///   - recipe: how they become tokens.
  ///   - form: what keys mean where a file does not say it; nil goes by those of the first line.
  ///   - cache: where token files are kept.
  ///   - progress: shown while files are tokenised.
  ///   - communicator: all ranks.
  /// - Returns: the rows, and the digest of each data file's bytes.
  /// - Throws: what is wrong with a data file or the cache's folder.
  static func open(
    _ files: [RunConfiguration.DataFile], recipe: TokenRecipe, form: DataForm?, cache: TokenCache,
    progress: ProgressLine, communicator: borrowing Communicator
  ) throws -> (data: TrainingData, digests: [String]) {
    let isLeader = communicator.rank == 0
    let isNodeLeader = communicator.nodeRank == 0
    let known: [UInt8] = try communicator.agree {
      guard isLeader else { return [] }
      return Array(try files.map { try cache.digest(of: $0.path) }.joined(separator: "\n").utf8)
    }
    let digests = String(
      decoding: try communicator.broadcast(bytes: known, from: 0), as: UTF8.self
    ).split(separator: "\n").map(String.init)
    let plans = zip(files, digests).map { file, digest in
      TokenFilePlan(
        file: file, form: file.format ?? form, digest: digest, recipe: recipe, cache: cache)
    }
    try communicator.agree { if isLeader { try plans.forEach { try $0.make(progress) } } }
    try communicator.agree {
      if isNodeLeader, !isLeader { try plans.forEach { try $0.make(nil) } }
    }
    let opened = try communicator.agree {
      try plans.map { try $0.open(isLeader ? progress : nil) }
    }
    progress.finish()
    return (TrainingData(zip(opened, files).map { ($0, $1.weight) }), digests)
  }
}

/// How one data file gets its token file.
struct TokenFilePlan {
  let file: RunConfiguration.DataFile
  let form: DataForm?
  let digest: String
  let recipe: TokenRecipe
  let cache: TokenCache

  private var path: String? {
    cache.path(of: file, key: recipe.key(file, form: form, contentDigest: digest))
  }

  /// Makes the token file unless it is there and whole; `progress` is nil on a rank that is silent.
  func make(_ progress: ProgressLine?) throws {
    guard let path else { return }
    if FileManager.default.fileExists(atPath: path) {
      do throws(CheckpointError) {
        _ = try TokenFile(path: path, source: file.path, checks: true)
        return
      } catch {
        progress?.note("warning: the token cache is damaged and made anew: \(error.description)")
      }
    }
    try write(to: path, progress)
  }

  /// Opens the token file, a temporary one where none is kept.
  func open(_ progress: ProgressLine?) throws -> TokenFile {
    if let path { return try TokenFile(path: path, source: file.path, checks: false) }
    let temporary = FileManager.default.temporaryDirectory
      .appendingPathComponent("sail-\(UUID().uuidString).tokens").path
    defer { unlink(temporary) }
    try write(to: temporary, progress)
    return try TokenFile(path: temporary, source: file.path, checks: false)
  }

  private func write(to path: String, _ progress: ProgressLine?) throws {
    let start = Stopwatch.now
    let writer = try RecordFileWriter(path: path)
    let counts = try recipe.records(of: file, form: form) { record, share in
      try writer.append(record.bytes)
      guard let progress, writer.count % 64 == 0 else { return }
      let seconds = Stopwatch.now - start
      var text = "tokenise \(file.path) · \(writer.count) rows"
      if seconds > 0 { text += " · \(Int(Double(writer.count) / seconds)) rows/s" }
      if share > 0 { text += " · \(duration(seconds / share * (1 - share))) left" }
      progress.show(text)
    }
    guard try Checkpoint.digest(ofFile: file.path) == digest else {
      throw DataError(
        file.path,
        "the file was changed while it was read, or is another one on this node; start again")
    }
    try writer.complete(description: Array(JSON.object(counts.members).text.utf8))
  }
}
