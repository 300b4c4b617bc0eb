extension RunConfiguration {
  /// Keys whose values may differ between a run and its continuation.
  private static let freeKeys = [
    "evaluate", "samples", "checkpoint", "threads", "memory", "output", "oracle.timeout",
    "oracle.restarts", "data.cache", "reference_cache", "sail.term_norms_every",
  ]

  /// The keys that differ from an earlier run's and would change its results.
  ///
  /// `steps` and `epochs` may grow if the schedule is constant; with another schedule the learning
  /// rate of every step depends on them. Evaluation, samples, checkpoints, threads, memory, the
  /// caches, the limits of an oracle command and the output folder may differ.
  ///
  /// - Parameter other: the configuration of the run that this one would go on from.
  /// - Returns: the key paths in the order of the run file, some with a reason; empty if the run
  ///   can go on.
  public func differencesThatMatter(from other: RunConfiguration) -> [String] {
    guard case .mapping(let mine) = resolved, case .mapping(let theirs) = other.resolved else {
      return []
    }
    var differences: [String] = []
    for (own, earlier) in zip(mine, theirs) {
      switch own.key {
      case "steps": differences += lengthDifferences(from: other)
      case "epochs": break
      default:
        RunConfiguration.compare(own.value, earlier.value, path: own.key, into: &differences)
      }
    }
    return differences
  }

  private func lengthDifferences(from other: RunConfiguration) -> [String] {
    func judge(_ key: String, grows: Bool) -> [String] {
      if !grows { return ["\(key) (it may grow, not shrink)"] }
      if optimizer.schedule == .constant { return [] }
      return ["\(key) (the \(optimizer.schedule.rawValue) schedule depends on it)"]
    }
    return switch (length, other.length) {
    case (.steps(let new), .steps(let old)): new == old ? [] : judge("steps", grows: new > old)
    case (.epochs(let new), .epochs(let old)): new == old ? [] : judge("epochs", grows: new > old)
    case (.steps, .epochs): ["steps (the run counts epochs)"]
    case (.epochs, .steps): ["epochs (the run counts steps)"]
    }
  }

  private static func compare(
    _ first: ResolvedValue, _ second: ResolvedValue, path: String, into differences: inout [String]
  ) {
    guard first != second, !freeKeys.contains(path) else { return }
    guard case .mapping(let mine) = first, case .mapping(let theirs) = second,
      mine.map(\.key) == theirs.map(\.key)
    else {
      differences.append(path)
      return
    }
    for (own, other) in zip(mine, theirs) {
      compare(own.value, other.value, path: "\(path).\(own.key)", into: &differences)
    }
  }
}
