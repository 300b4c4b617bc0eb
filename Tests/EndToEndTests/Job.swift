import Foundation
import Glibc

/// What a test cannot go on without.
struct JobError: Error, CustomStringConvertible {
  let description: String
}

/// How a program ended, and what it wrote.
struct Job {
  /// The exit code; nil if a signal ended the program.
  let code: Int32?
  let output: String
  let errors: String
  let seconds: Double

  /// The lines on stderr by which Sail says why it ends, without those of mpirun.
  var complaints: [String] {
    errors.split(separator: "\n").filter { $0.hasPrefix("sail: ") }.map(String.init)
  }
}

/// How Sail is started.
struct Launch {
  /// Ranks under mpirun; nil starts the program by itself.
  var ranks: Int?
  /// Variables added to the environment.
  var environment: [String: String] = [:]
  /// Variables that only the last of several ranks has.
  var lastRankEnvironment: [String: String] = [:]
  /// The working directory; nil is that of the tests.
  var folder: String?
  /// Seconds after which the program is ended.
  var limitSeconds = 120

  static let alone = Launch()
  static func ranks(_ count: Int) -> Launch { Launch(ranks: count) }
}

/// A program that was started and may still run.
final class RunningJob {
  private let process = Process()
  private let folder: URL
  private let start = Date()
  private let limitSeconds: Int

  /// Starts `sail` with arguments.
  init(_ arguments: [String], _ launch: Launch = .alone) throws {
    let environment = ProcessInfo.processInfo.environment
    limitSeconds = launch.limitSeconds
    var command = [try builtProgram("sail").path] + arguments
    if let ranks = launch.ranks {
      let mpirun = try findProgram("mpirun", path: environment["PATH"] ?? "")
      let program = command
      command = [mpirun.path, "--oversubscribe", "-n", "\(ranks)"] + program
      if !launch.lastRankEnvironment.isEmpty {
        let variables = launch.lastRankEnvironment.flatMap { ["-x", "\($0.key)=\($0.value)"] }
        command =
          [mpirun.path, "--oversubscribe", "-n", "\(ranks - 1)"] + program + [":", "-n", "1"]
          + variables + program
      }
    }
    // Into files: two pipes would need two readers.
    folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("sail-job-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let files = ["output", "errors"].map { folder.appendingPathComponent($0) }
    for file in files { try Data().write(to: file) }
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    process.environment =
      environment
      .merging(["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]) { $1 }
      .merging(launch.environment) { $1 }
    if let folder = launch.folder {
      process.currentDirectoryURL = URL(fileURLWithPath: folder)
    }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: files[0])
    process.standardError = try FileHandle(forWritingTo: files[1])
    // Threads of tests block signals, and a program that is started inherits that.
    var (noSignals, blocked) = (sigset_t(), sigset_t())
    sigemptyset(&noSignals)
    pthread_sigmask(SIG_SETMASK, &noSignals, &blocked)
    defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
    try process.run()
  }

  deinit {
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    try? FileManager.default.removeItem(at: folder)
  }

  /// Sends a signal to the program that was started, which may be mpirun.
  func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Sends a signal to one rank of mpirun.
  func sendToRank(_ signal: Int32) throws {
    let tasks = "/proc/\(process.processIdentifier)/task"
    let children = try FileManager.default.contentsOfDirectory(atPath: tasks).flatMap {
      try String(contentsOfFile: "\(tasks)/\($0)/children", encoding: .utf8)
        .split(separator: " ").compactMap { Int32($0) }
    }
    guard let child = children.max() else {
      throw JobError(description: "mpirun has no rank to send a signal to")
    }
    kill(child, signal)
  }

  /// Waits until a condition holds; throws if the program ends before.
  func wait(until what: String, _ condition: () throws -> Bool) throws {
    while try !condition() {
      guard process.isRunning else {
        let job = try finish()
        throw JobError(
          description: "the program ended (\(job.code.map(String.init) ?? "by a signal")) before "
            + "\(what): \(job.errors)")
      }
      try checkTime()
      usleep(500)
    }
  }

  /// Waits for the end.
  func finish() throws -> Job {
    while process.isRunning {
      try checkTime()
      usleep(2000)
    }
    func text(_ name: String) throws -> String {
      String(decoding: try Data(contentsOf: folder.appendingPathComponent(name)), as: UTF8.self)
    }
    return Job(
      code: process.terminationReason == .exit ? process.terminationStatus : nil,
      output: try text("output"), errors: try text("errors"),
      seconds: Date().timeIntervalSince(start))
  }

  private func checkTime() throws {
    guard Date().timeIntervalSince(start) > Double(limitSeconds) else { return }
    // mpirun ends its ranks then.
    kill(process.processIdentifier, SIGTERM)
    usleep(2_000_000)
    let errors = try? String(
      contentsOf: folder.appendingPathComponent("errors"), encoding: .utf8)
    throw JobError(
      description: "\(process.arguments ?? []) did not end within \(limitSeconds) s: "
        + (errors ?? ""))
  }
}

/// Runs `sail` to its end.
func sail(_ arguments: [String], _ launch: Launch = .alone) throws -> Job {
  try RunningJob(arguments, launch).finish()
}

/// Runs `sail` and demands that it succeeds.
@discardableResult
func sailDone(_ arguments: [String], _ launch: Launch = .alone) throws -> Job {
  let job = try sail(arguments, launch)
  guard job.code == 0 else {
    let code = job.code.map { "exit code \($0)" } ?? "a signal"
    throw JobError(
      description: "sail \(arguments.joined(separator: " ")) ended with \(code): \(job.errors)")
  }
  return job
}

/// The first executable file of that name on a search path.
func findProgram(_ name: String, path: String) throws -> URL {
  for folder in path.split(separator: ":") {
    let file = URL(fileURLWithPath: String(folder)).appendingPathComponent(name)
    if FileManager.default.isExecutableFile(atPath: file.path) { return file }
  }
  throw JobError(
    description: "\(name) is not on PATH (\(path)): install openmpi-bin, or load the cluster's "
      + "Open MPI module; these tests do not pass without it")
}

/// A program of this package, which lies beside the test bundle.
private func builtProgram(_ name: String) throws -> URL {
  var folders = [Bundle.main.bundleURL, Bundle.main.bundleURL.deletingLastPathComponent()]
  folders += CommandLine.arguments.map {
    URL(fileURLWithPath: $0).resolvingSymlinksInPath().deletingLastPathComponent()
  }
  for folder in folders {
    let file = folder.appendingPathComponent(name)
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder),
      !isFolder.boolValue, FileManager.default.isExecutableFile(atPath: file.path)
    {
      return file
    }
  }
  throw JobError(
    description: "\(name) is not beside the tests, looked in \(folders.map(\.path)): build it "
      + "with `swift build --product \(name)`")
}
