import Glibc

/// Parts of a step whose time is measured, in the order of the metrics.
enum StepPhase: Int, CaseIterable {
  case generate
  case label
  case reference
  case policy
  case reduce
  case optimizer
  case checkpoint
  case wait

  /// Name after `time/`.
  var name: String { "\(self)" }
}

/// Seconds by phase of the current step.
struct Stopwatch {
  private(set) var seconds = [Double](repeating: 0, count: StepPhase.allCases.count)

  /// Seconds of a clock that only goes forward.
  static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// Forgets the last step.
  mutating func reset() { seconds = seconds.map { _ in 0 } }

  /// Adds the time of `body` to a phase.
  mutating func measure<R>(_ phase: StepPhase, _ body: () throws -> R) rethrows -> R {
    let start = Stopwatch.now
    defer { seconds[phase.rawValue] += Stopwatch.now - start }
    return try body()
  }
}
