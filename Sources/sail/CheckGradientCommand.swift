import ArgumentParser
import Coordinator

struct CheckGradient: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Holds the gradient of a run's first step against finite differences, by term.",
    discussion: """
      On your own model and rows: generates and labels as the run would, then compares for each term \
      (t1 through the responses, t2 the pair loss, t3 through the policy's own labels, revkl) the slope \
      that the backward gives with the one that differences of the forward give. Trains nothing.
      Example:
        sail check-gradient --config examples/sail-mix.yaml --set batch.pairs=8
      """)

  @OptionGroup
  var runFile: RunFileArguments

  @Option(
    help: ArgumentHelp(
      "Moves the weights first, by so much of their size: where policy and reference are equal some "
        + "terms vanish."))
  var displacement = 0.01

  @Option(help: "Largest difference that passes, relative to the size of such slopes.")
  var tolerance = 0.01

  @Option(help: ArgumentHelp("Pretends that nodes have so many ranks.", visibility: .hidden))
  var ranksPerNode: Int?

  func validate() throws {
    guard displacement >= 0, displacement <= 1 else {
      throw ValidationError("--displacement must be from 0 to 1, found \(displacement)")
    }
    guard tolerance > 0, tolerance.isFinite else {
      throw ValidationError("--tolerance must be above 0, found \(tolerance)")
    }
  }

  func run() {
    let options = CheckGradientOptions(
      configuration: runFile.config, overrides: runFile.overrides, displacement: displacement,
      tolerance: tolerance)
    runOnAllRanks(ranksPerNode: ranksPerNode) { try checkGradient(options, communicator: $0) }
  }
}
