import ArgumentParser
import Coordinator

extension ProgressStyle: ExpressibleByArgument {}

/// The run file of a command and what is set over it.
struct RunFileArguments: ParsableArguments {
  @Option(help: "The run file (YAML).")
  var config: String

  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp("Overrides a key of the run file.", valueName: "key.path=value"))
  var overrides: [String] = []
}

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Trains a model as a run file says: sft, reward, dpo or sail.",
    discussion: """
      Example, two ranks of this machine:
        mpirun -n 2 sail train --config examples/dpo.yaml --set steps=100 --resume auto
      """)

  @OptionGroup
  var runFile: RunFileArguments

  @Option(
    help: ArgumentHelp(
      "If the output folder holds a run: never (refuse), auto (go on from its newest whole "
        + "checkpoint), or a checkpoint folder to go on from.", valueName: "never|auto|DIR"))
  var resume = "never"

  @Option(help: "Progress on stderr: auto, bar or plain.")
  var progress = ProgressStyle.auto

  @Option(help: ArgumentHelp("Pretends that nodes have so many ranks.", visibility: .hidden))
  var ranksPerNode: Int?

  func validate() throws {
    if let ranksPerNode, ranksPerNode < 1 {
      throw ValidationError("--ranks-per-node must be at least 1, found \(ranksPerNode)")
    }
  }

  func run() {
    let start: TrainOptions.Resume =
      switch resume {
      case "never": .never
      case "auto": .auto
      default: .from(resume)
      }
    let options = TrainOptions(
      configuration: runFile.config, overrides: runFile.overrides, resume: start, progress: progress
    )
    runOnAllRanks(ranksPerNode: ranksPerNode) { try train(options, communicator: $0) }
  }
}
