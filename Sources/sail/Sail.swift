import ArgumentParser
import Comm
import Coordinator
import Foundation

@main
struct Sail: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sail",
    abstract: "Aligns language models with SAIL on clusters of CPU nodes, under mpirun.",
    discussion: """
      A run on this machine with two ranks:
        mpirun -n 2 sail train --config RUN.yaml
      See `sail help train` and README.md.
      """,
    version: "sail \(sailVersion) (\(libraryVersions))",
    subcommands: [
      Train.self, CheckGradient.self, Score.self, Generate.self, Evaluate.self, Reward.self,
      Inspect.self, Export.self, Compare.self, Synthesize.self, Doctor.self,
      Plan.self,
    ])
}

/// Runs a command's work on all ranks and ends the process with its exit code.
///
/// `ranksPerNode` pretends that the ranks of this machine are on several nodes, for tests.
func runOnAllRanks(
  ranksPerNode: Int? = nil, _ body: (borrowing Communicator) throws -> Int32
) -> Never {
  guard isCPUSupported else {
    complainAndExit("this CPU lacks AVX2 and FMA; Sail needs x86-64-v3 or newer", code: 1)
  }
  let options = SessionOptions(
    environment: ProcessInfo.processInfo.environment, ranksPerNode: ranksPerNode)
  let code = withMPI(options: options, describe: describeFailure, body)
  exit(code)
}

/// Runs a command's work on this process alone and ends it with the exit code.
func runAlone(_ body: () throws -> Void) -> Never {
  do {
    try body()
    exit(0)
  } catch {
    let failure = describeFailure(error)
    complainAndExit(failure.message, code: failure.code)
  }
}

private func complainAndExit(_ message: String, code: Int32) -> Never {
  FileHandle.standardError.write(Data("sail: \(message)\n".utf8))
  exit(code)
}
