import Checkpoint
import Comm
import Foundation
import JSONText
import Worker

/// What `sail train` is asked beside the run file.
public struct TrainOptions: Sendable {
  /// What happens if the output folder holds a run.
  public enum Resume: Sendable, Equatable {
    /// Refuse.
    case never
    /// Go on from the newest whole checkpoint.
    case auto
    /// Go on from this checkpoint.
    case from(String)
  }

  /// The run file.
  public var configuration: String
  /// `key.path=value` overrides.
  public var overrides: [String]
  /// What happens if the output folder holds a run.
  public var resume: Resume
  /// How progress is shown.
  public var progress: ProgressStyle

  /// Options from their parts.
  public init(
    configuration: String, overrides: [String], resume: Resume, progress: ProgressStyle
  ) {
    self.configuration = configuration
    self.overrides = overrides
    self.resume = resume
    self.progress = progress
  }
}

/// Steps in a row that may fail to be finite before the run stops.
private let nonFiniteLimit = 3

/// Steps in a row of whose rows the oracle may score none before the run stops.
private let failedOracleLimit = 3

/// Why a run stopped before its end.
public struct TrainingError: Error, CustomStringConvertible, Sendable {
  /// A sentence.
  public let description: String
}

/// Trains as a run file says; collective.
///
/// - Parameters:
///   - options: run file, overrides, resume, progress.
///   - communicator: all ranks.
/// - Returns: the exit code: 0 done, 75 stopped on request after saving.
/// - Throws: what is wrong with configuration, data or model; `TrainingError` if too many steps in a
///   row are not finite.
public func train(_ options: TrainOptions, communicator: borrowing Communicator) throws -> Int32 {
  let start = Stopwatch.now
  listenForStopRequests()
  let configuration = try communicator.agree {
    let configuration = try RunConfiguration.load(
      path: options.configuration, overrides: options.overrides)
    try configuration.checkSupported()
    return configuration
  }
  let progress = ProgressLine(
    style: options.progress, isShown: communicator.rank == 0)
  let folder = RunFolder(path: configuration.output)
  let resumePath = try chooseStart(
    options, configuration, folder: folder, progress: progress, communicator: communicator)
  for warning in configuration.warnings { progress.note("warning: \(warning)") }

  let run = try TrainingRun(
    configuration: configuration, folder: folder, progress: progress, communicator: communicator)
  var notes = run.arithmetic.notes
  if let resumePath {
    let saved = try run.restore(from: resumePath, communicator: communicator)
    if let note = run.arithmetic.changeNote(since: saved) { notes.append(note) }
    progress.note("going on from \(resumePath)")
  }
  if run.step >= run.stepCount, FileManager.default.fileExists(atPath: folder.model) {
    progress.note("the run is finished: \(run.step) steps; its model is in \(folder.model)")
    return 0
  }
  try communicator.agree {
    if run.isLeader { try run.beginLogs(rankCount: communicator.size, progress: progress) }
  }
  try run.introduceReferenceCache(progress: progress)
  for note in notes {
    progress.note("warning: \(note)")
    if run.isLeader { try folder.log(note) }
  }
  progress.note(run.summary(startSeconds: Stopwatch.now - start))
  let code = try run.loop(progress: progress, communicator: communicator)
  progress.finish()
  return code
}

/// The checkpoint to go on from, the same on every rank; nil to start anew.
private func chooseStart(
  _ options: TrainOptions, _ configuration: RunConfiguration, folder: RunFolder,
  progress: ProgressLine, communicator: borrowing Communicator
) throws -> String? {
  let isLeader = communicator.rank == 0
  let chosen: [UInt8] = try communicator.agree {
    guard isLeader else { return [] }
    let holdsRun = folder.holdsRun
    try folder.open()
    var path: String?
    switch options.resume {
    case .never:
      if holdsRun {
        throw ConfigurationError(
          "output: \(folder.path) holds a run; choose another folder, or --resume auto to go on")
      }
    case .auto:
      let newest = try newestCheckpoint(in: folder.checkpoints)
      for broken in newest.skipped {
        progress.note("warning: left out the broken checkpoint \(broken.path): \(broken.reason)")
      }
      path = newest.found?.path
      if path == nil, let broken = newest.skipped.first {
        throw CheckpointError(
          "\(folder.checkpoints) holds checkpoints but none is whole (\(broken.reason)); move "
            + "\(folder.path) away to start anew")
      }
    case .from(let given):
      _ = try verifyFolder(given)
      path = given
    }
    if let path {
      let saved = try RunConfiguration.load(path: path + "/config.yaml")
      let differences = configuration.differencesThatMatter(from: saved)
      guard differences.isEmpty else {
        throw ConfigurationError(
          "the run file differs from the run in \(path) in what changes results: "
            + differences.joined(separator: ", ") + "; restore it, or choose another output")
      }
    }
    return Array((path ?? "").utf8)
  }
  let path = String(decoding: try communicator.broadcast(bytes: chosen, from: 0), as: UTF8.self)
  return path.isEmpty ? nil : path
}

extension TrainingRun {
  /// Runs step after step with evaluation, logs and checkpoints; collective.
  func loop(progress: ProgressLine, communicator: borrowing Communicator) throws -> Int32 {
    let first = step
    let start = Stopwatch.now
    var pausedSeconds = 0.0
    while step < stepCount {
      let outcome = try runStep(communicator: communicator) { phase in
        progress.show(step: step + 1, of: stepCount, phase: phase, first: first, since: start)
      }
      if isLeader {
        try log(outcome)
        for warning in termWarnings(outcome.termNorms) {
          progress.note("warning: step \(outcome.step): \(warning)")
          try folder.log("step \(outcome.step): \(warning)")
        }
      }
      try communicator.agree { try reportOracleFailures(outcome, progress: progress) }
      if !outcome.isApplied {
        try communicator.agree { try reportNonFinite(outcome, progress: progress) }
      }
      progress.completed(outcome)
      let pause = Stopwatch.now
      let isLast = step == stepCount
      let isStopping = outcome.isStopRequested
      let settings = configuration.evaluate
      if evaluation != nil, isLast || settings.every > 0 && step % settings.every == 0 {
        progress.show(step: step, of: stepCount, phase: "evaluate", first: first, since: start)
        try evaluateStep(communicator: communicator, progress: progress)
      }
      if isLast || isStopping || step % configuration.checkpoint.every == 0 {
        progress.show(step: step, of: stepCount, phase: "checkpoint", first: first, since: start)
        try saveCheckpoint(communicator: communicator)
        try publishReferences(progress: progress, isEnd: isLast || isStopping)
      }
      pausedSeconds += Stopwatch.now - pause
      if isStopping && !isLast {
        progress.note("stopped on request after step \(step); --resume auto goes on")
        return 75
      }
    }
    try publishRemainders()
    if isLeader {
      progress.show(step: step, of: stepCount, phase: "export", first: first, since: start)
      try exportedFolder.write(to: folder.model, type: numberType)
      progress.note("done: \(step) steps; the model is in \(folder.model)")
    }
    try communicator.barrier()
    return 0
  }

  /// Says that an oracle failed on rows, the first time and where no row of a step is left; ends the
  /// run after too many such steps in a row.
  private func reportOracleFailures(_ outcome: StepOutcome, progress: ProgressLine) throws {
    let asked = outcome.rows.rows.filter { $0.route == .dpr }
    if asked.isEmpty { return }
    let failures = asked.compactMap { outcome.rows.online[$0.index]?.failure }
    failedOracleSteps = failures.count == asked.count ? failedOracleSteps + 1 : 0
    guard let reason = failures.first else { return }
    let sentence =
      "step \(outcome.step): the oracle failed on \(failures.count) of \(asked.count) rows, which "
      + "are left out; the first reason: \(reason)"
    if isLeader { try folder.log(sentence) }
    if !hasReportedOracleFailure { progress.note("warning: " + sentence) }
    hasReportedOracleFailure = true
    guard failedOracleSteps >= failedOracleLimit else { return }
    throw OracleError(
      "\(failedOracleSteps) steps in a row had no row that the oracle could score (the last: step "
        + "\(outcome.step)); mend the oracle and go on with --resume auto; the first reason: "
        + reason)
  }

  /// Saves the rows of a step that was not applied; ends the run after too many in a row.
  private func reportNonFinite(_ outcome: StepOutcome, progress: ProgressLine) throws {
    let file = folder.path + "/nonfinite-step-\(outcome.step).jsonl"
    if isLeader {
      try writeFileAtomically([], path: file)
      try folder.append(allRowRecords(outcome), to: file)
      let sentence =
        "step \(outcome.step): the loss or gradient is not finite; the update was left out, "
        + "the rows are in \(file)"
      progress.note("warning: " + sentence)
      try folder.log(sentence)
    }
    guard nonFiniteCount >= min(nonFiniteLimit, stepCount) else { return }
    throw TrainingError(
      description:
        "\(nonFiniteCount) steps in a row had a loss or gradient that is not finite (the last: "
        + "step \(outcome.step), rows in \(file)); lower optimizer.learning_rate, or look at the "
        + "rows and the starting model")
  }
}
