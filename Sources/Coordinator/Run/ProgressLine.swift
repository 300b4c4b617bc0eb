import Foundation
import Glibc

/// How progress is shown on stderr.
public enum ProgressStyle: String, Sendable, CaseIterable {
  /// A line that is rewritten on a terminal, plain lines elsewhere.
  case auto
  /// A line that is rewritten.
  case bar
  /// One line every few seconds.
  case plain
}

/// The progress of a long action: step, phase, tokens a second, time left.
final class ProgressLine {
  private let isShown: Bool
  private let isBar: Bool
  private var lastShown = 0.0
  private var tokensPerSecond = 0.0
  private var width = 0

  /// Seconds between two plain lines.
  private static let plainSeconds = 5.0

  init(style: ProgressStyle, isShown: Bool) {
    self.isShown = isShown
    switch style {
    case .auto: isBar = ProgressLine.isTerminal
    case .bar: isBar = true
    case .plain: isBar = false
    }
  }

  /// Whether a person sees stderr: under mpirun that of mpirun, the parent, which a rank writes through.
  private static var isTerminal: Bool {
    if isatty(2) == 1 { return true }
    guard ProcessInfo.processInfo.environment["OMPI_COMM_WORLD_RANK"] != nil else { return false }
    let target = try? FileManager.default.destinationOfSymbolicLink(
      atPath: "/proc/\(getppid())/fd/2")
    return target?.hasPrefix("/dev/pts/") ?? false || target?.hasPrefix("/dev/tty") ?? false
  }

  /// Shows what a step is doing.
  func show(step: Int, of count: Int, phase: String, first: Int, since start: Double) {
    let now = Stopwatch.now
    guard isShown, isBar ? now - lastShown > 0.1 : now - lastShown > Self.plainSeconds else {
      return
    }
    lastShown = now
    let done = step - 1 - first
    var parts = ["step \(step)/\(count)", phase]
    if tokensPerSecond > 0 { parts.append("\(Int(tokensPerSecond)) tokens/s") }
    if done > 0 {
      let left = (now - start) / Double(done) * Double(count - step + 1)
      parts.append("\(duration(left)) left")
    }
    write(parts.joined(separator: " · "))
  }

  /// Shows how far a count of rows is.
  func show(_ what: String, done: Int, of count: Int, since start: Double) {
    var text = "\(what) \(done)/\(count)"
    if done > 0 {
      let left = (Stopwatch.now - start) / Double(done) * Double(count - done)
      text += " · \(duration(left)) left"
    }
    show(text)
  }

  /// Shows a text, unless one was shown a moment ago.
  func show(_ text: String) {
    let now = Stopwatch.now
    guard isShown, isBar ? now - lastShown > 0.1 : now - lastShown > Self.plainSeconds else {
      return
    }
    lastShown = now
    write(text)
  }

  /// Takes note of a finished step's speed.
  func completed(_ outcome: StepOutcome) {
    let speed =
      Double(outcome.trainedTokens + outcome.generatedTokens) / max(outcome.wallSeconds, 1e-9)
    tokensPerSecond = tokensPerSecond == 0 ? speed : 0.8 * tokensPerSecond + 0.2 * speed
  }

  /// Prints a line that stays.
  func note(_ text: String) {
    guard isShown else { return }
    finish()
    print(line: text + "\n")
  }

  /// Ends the rewritten line.
  func finish() {
    guard isShown, isBar, width > 0 else { return }
    print(line: "\r" + String(repeating: " ", count: width) + "\r")
    width = 0
  }

  private func write(_ text: String) {
    if isBar {
      let padding = String(repeating: " ", count: max(0, width - text.count))
      print(line: "\r" + text + padding)
      width = text.count
    } else {
      print(line: text + "\n")
    }
  }

  private func print(line: String) {
    FileHandle.standardError.write(Data(line.utf8))
  }
}

/// A number of seconds as people read it: 12 s, 3:05, 1:02:03.
func duration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds < 1e9 else { return "?" }
  let whole = Int(seconds.rounded())
  if whole < 60 { return "\(whole) s" }
  func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
  if whole < 3600 { return "\(whole / 60):\(two(whole % 60))" }
  return "\(whole / 3600):\(two(whole / 60 % 60)):\(two(whole % 60))"
}
