import ArgumentParser
import Coordinator
import Foundation

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Says what a run needs in memory and on disk, and how long a step takes.",
    discussion: """
      Allocates nothing: reads the run file, the models' config.json and the first rows of the data. \
      Seconds rest on what `sail doctor` measured. Examples:
        sail plan --config RUN.yaml --ranks 2
        sail plan --config RUN.yaml --ranks 64 --nodes 16 --memory 256GB --ceilings doctor.json \
      --prompt-tokens 128 --response-tokens 256
      """)

  @OptionGroup
  var runFile: RunFileArguments
  @Option(help: "Ranks, over all nodes.")
  var ranks: Int
  @Option(help: "Nodes that they are spread over.")
  var nodes = 1
  @Option(help: "Threads a rank; the run file's, else a share of the node, if absent.")
  var threads: Int?
  @Option(help: "Memory of a node, such as 256GB; this machine's if absent.")
  var memory: String?
  @Option(
    help: ArgumentHelp(
      "Speeds that `sail doctor` measured; those kept for this machine if absent.",
      valueName: "FILE"))
  var ceilings: String?
  @Option(help: "Tokens of a prompt, instead of reading the data.")
  var promptTokens: Int?
  @Option(help: "Tokens of a response, instead of reading the data.")
  var responseTokens: Int?
  @Flag(help: "Prints JSON for a program.")
  var json = false

  func validate() throws {
    func check(_ name: String, _ value: Int?, _ limit: Int) throws {
      guard let value, value < 1 || value > limit else { return }
      throw ValidationError("--\(name) must be from 1 to \(limit), found \(value)")
    }
    try check("ranks", ranks, 1 << 20)
    try check("nodes", nodes, ranks)
    try check("threads", threads, 1 << 16)
    try check("prompt-tokens", promptTokens, 1 << 20)
    try check("response-tokens", responseTokens, 1 << 20)
    if let memory, byteCount(of: memory) == nil {
      throw ValidationError("--memory wants a size with its unit, such as 24GB, found \(memory)")
    }
    guard (promptTokens == nil) == (responseTokens == nil) else {
      throw ValidationError("--prompt-tokens and --response-tokens go together; give both")
    }
  }

  func run() {
    var lengths: (prompt: Int, response: Int)?
    if let promptTokens, let responseTokens { lengths = (promptTokens, responseTokens) }
    let options = PlanOptions(
      configuration: runFile.config, overrides: runFile.overrides, ranks: ranks, nodes: nodes,
      threads: threads, memoryBytes: memory.flatMap { byteCount(of: $0) }, ceilings: ceilings,
      lengths: lengths, isJSON: json, environment: ProcessInfo.processInfo.environment)
    runAlone { print(try plan(options)) }
  }
}
