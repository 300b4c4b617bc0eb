import Comm
import Foundation
import Tensor
import Worker

/// What `sail check-gradient` is asked.
public struct CheckGradientOptions: Sendable {
  /// The run file.
  public var configuration: String
  /// `key.path=value` overrides.
  public var overrides: [String]
  /// How far the weights are moved from the starting model first, relative to each tensor's root
  /// mean square: at the reference u is 0, where T1 with its baseline and T3 of expected labels vanish.
  public var displacement: Double
  /// The largest relative difference that passes.
  public var tolerance: Double

  /// Options from their parts.
  public init(
    configuration: String, overrides: [String], displacement: Double, tolerance: Double
  ) {
    self.configuration = configuration
    self.overrides = overrides
    self.displacement = displacement
    self.tolerance = tolerance
  }
}

/// A gradient that is not the slope of its loss.
public struct GradientError: Error, CustomStringConvertible, Sendable {
  /// A sentence.
  public let description: String
}

/// Holds the gradient of a run's first step against finite differences, term by term; collective.
///
/// Prints a table on standard output. Writes no file and trains nothing.
/// - Parameters:
///   - options: run file, overrides, displacement, tolerance.
///   - communicator: all ranks.
/// - Returns: the exit code.
/// - Throws: what is wrong with configuration, data or model; `GradientError` if a slope differs.
public func checkGradient(
  _ options: CheckGradientOptions, communicator: borrowing Communicator
) throws -> Int32 {
  let configuration = try communicator.agree {
    var configuration = try RunConfiguration.load(
      path: options.configuration, overrides: options.overrides)
    guard configuration.method == .dpo || configuration.method == .sail else {
      throw ConfigurationError(
        "check-gradient: method \(configuration.method.rawValue) has no terms to check; use a run "
          + "file with method: dpo or sail")
    }
    // The optimizer is not used: the one without state.
    configuration.optimizer.name = .sgd
    configuration.optimizer.momentum = 0
    // No file is left behind.
    configuration.data.cache = .off
    configuration.referenceCache = .off
    return configuration
  }
  let progress = ProgressLine(style: .auto, isShown: communicator.rank == 0)
  let run = try TrainingRun(
    configuration: configuration, folder: RunFolder(path: configuration.output), progress: progress,
    communicator: communicator)
  for note in run.arithmetic.notes { progress.note("warning: \(note)") }
  let displacement = options.displacement
  if displacement > 0 { try run.displaceWeights(by: displacement, communicator: communicator) }
  let start = Stopwatch.now
  let check = try GradientCheck(run, communicator: communicator) {
    progress.show("check-gradient · \($0)")
  }
  var comparisons: [SlopeComparison] = []
  for (index, (name, term)) in check.terms.enumerated() {
    progress.show(
      "check-gradient · term \(name)", done: index, of: check.terms.count, since: start)
    comparisons += try check.compare(name, term, communicator: communicator)
  }
  progress.finish()
  if run.isLeader {
    let routes = check.routeCounts.map { "\($0.count) \($0.route.rawValue)" }
    print(
      "\(routes.joined(separator: ", ")) rows, weights moved by \(displacement) of their size, "
        + "\(run.worker.compute.kernelName)")
    print(table(comparisons, tolerance: options.tolerance))
  }
  if let worst = comparisons.first(where: { !($0.relative <= options.tolerance) }) {
    throw GradientError(
      description:
        "check-gradient: the slope of \(worst.term) along its \(worst.direction) direction is "
        + "\(worst.analytic) by the backward and \(worst.difference) by differences, "
        + "\(worst.relative) apart relative to such slopes, more than \(options.tolerance); the "
        + "gradient or the forward of this model is wrong, or its numbers are too coarse (a loss "
        + "kink, huge weights): try another --displacement and seed, then report it")
  }
  try communicator.barrier()
  return 0
}

private func table(_ comparisons: [SlopeComparison], tolerance: Double) -> String {
  func cell(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
  let head = ["term", "gradient norm", "direction", "backward", "differences", "relative", ""]
  let widths = [6, 14, 10, 14, 14, 9, 4]
  let rows = comparisons.map { row in
    [
      row.term, String(format: "%.6g", row.norm), row.direction,
      String(format: "%.7g", row.analytic), String(format: "%.7g", row.difference),
      String(format: "%.1e", row.relative), row.relative <= tolerance ? "ok" : "DIFFERS",
    ]
  }
  return ([head] + rows).map { cells in
    zip(cells, widths).map { cell($0, $1) }.joined(separator: " ")
  }.joined(separator: "\n")
}
