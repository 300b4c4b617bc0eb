import Foundation

/// What a test cannot go on without.
struct JobError: Error, CustomStringConvertible {
  let description: String
}

/// How a program ended, and what it wrote.
struct Job {
  let status: Int32
  let output: String
  let errors: String
  let seconds: Double

  /// The lines on stderr that Sail wrote, without those of mpirun.
  var complaints: [String] {
    errors.split(separator: "\n").filter { $0.hasPrefix("sail: ") }.map(String.init)
  }

  /// Whether mpirun announced an `MPI_Abort`, or failed to (Open MPI 4.1.4 often garbles the notice).
  var aborted: Bool { errors.contains("MPI_ABORT") || errors.contains("show_help") }

  /// Runs `comm-check` on some ranks; mpirun ends a job that hangs.
  static func start(ranks: Int, _ arguments: [String]) throws -> Job {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let mpirun = try find("mpirun", path: path)
    return try start(
      mpirun,
      ["--oversubscribe", "--timeout", "50", "-n", "\(ranks)", try built("comm-check").path]
        + arguments)
  }

  /// Runs `comm-check` without mpirun.
  static func startAlone(_ arguments: [String], environment: [String: String]) throws -> Job {
    try start(try built("comm-check"), arguments, environment: environment)
  }

  /// The first executable file of that name on a search path.
  static func find(_ name: String, path: String) throws -> URL {
    for folder in path.split(separator: ":") {
      let file = URL(fileURLWithPath: String(folder)).appendingPathComponent(name)
      if FileManager.default.isExecutableFile(atPath: file.path) { return file }
    }
    throw JobError(
      description: "\(name) is not on PATH (\(path)): install openmpi-bin, or load the cluster's "
        + "Open MPI module; these tests do not pass without it")
  }

  /// A program of this package, which lies beside the test bundle.
  private static func built(_ name: String) throws -> URL {
    var folders = [Bundle.main.bundleURL, Bundle.main.bundleURL.deletingLastPathComponent()]
    folders += CommandLine.arguments.map {
      URL(fileURLWithPath: $0).resolvingSymlinksInPath().deletingLastPathComponent()
    }
    for folder in folders {
      let file = folder.appendingPathComponent(name)
      if FileManager.default.isExecutableFile(atPath: file.path) { return file }
    }
    throw JobError(
      description: "\(name) is not beside the tests, looked in \(folders.map(\.path)): build it "
        + "with `swift build --product \(name)`")
  }

  private static func start(
    _ program: URL, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Job {
    var variables = ProcessInfo.processInfo.environment
    variables["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    variables["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    variables.merge(environment) { $1 }
    // Into files: two pipes would need two readers.
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("sail-comm-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let files = ["output", "errors"].map { folder.appendingPathComponent($0) }
    for file in files { try Data().write(to: file) }

    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.environment = variables
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: files[0])
    process.standardError = try FileHandle(forWritingTo: files[1])
    let start = Date()
    try process.run()
    process.waitUntilExit()
    return Job(
      status: process.terminationStatus,
      output: try String(contentsOf: files[0], encoding: .utf8),
      errors: try String(contentsOf: files[1], encoding: .utf8),
      seconds: Date().timeIntervalSince(start))
  }
}
