import ArgumentParser
import Coordinator
import Foundation

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Says how ranks, threads and kernels stand here, how fast they are, what is wrong.",
    discussion: """
      Measures products and memory for about ten seconds and keeps the figures for `sail plan`. Run it \
      as you run training: alone, or under mpirun with the same options. Example:
        mpirun -n 2 sail doctor --json doctor.json
      docs/doctor.md explains the report.
      """)

  @Option(help: ArgumentHelp("File to write for a program to read.", valueName: "FILE"))
  var json: String?
  @Option(help: "Threads a rank; as many as it may use if absent.")
  var threads: Int?

  func validate() throws {
    if let threads, threads < 1 {
      throw ValidationError("--threads must be at least 1, found \(threads)")
    }
  }

  func run() {
    let options = DoctorOptions(
      jsonFile: json, threads: threads, environment: ProcessInfo.processInfo.environment)
    runOnAllRanks { try doctor(options, communicator: $0) }
  }
}
