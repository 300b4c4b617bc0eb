import Foundation
import JSONText
import Tensor

/// What `sail plan` is asked.
public struct PlanOptions: Sendable {
  /// The run file.
  public var configuration: String
  /// `key.path=value` overrides.
  public var overrides: [String]
  /// Ranks, over all nodes.
  public var ranks: Int
  /// Nodes that they are spread over.
  public var nodes: Int
  /// Threads a rank, nil for the run file's, else a share of the node.
  public var threads: Int?
  /// Bytes of memory of a node, nil for the run file's, else this machine's.
  public var memoryBytes: Int?
  /// File of `sail doctor`, nil for the one in the user's cache folder.
  public var ceilings: String?
  /// Tokens of a prompt and of a response; nil reads them from the data.
  public var lengths: (prompt: Int, response: Int)?
  /// Whether the plan is for a program.
  public var isJSON: Bool
  /// The process's environment, which says where ceilings are kept.
  public var environment: [String: String]

  /// Options from their parts.
  public init(
    configuration: String, overrides: [String], ranks: Int, nodes: Int, threads: Int?,
    memoryBytes: Int?, ceilings: String?, lengths: (prompt: Int, response: Int)?, isJSON: Bool,
    environment: [String: String]
  ) {
    self.configuration = configuration
    self.overrides = overrides
    self.ranks = ranks
    self.nodes = nodes
    self.threads = threads
    self.memoryBytes = memoryBytes
    self.ceilings = ceilings
    self.lengths = lengths
    self.isJSON = isJSON
    self.environment = environment
  }
}

/// Says what a run needs and how long a step takes; allocates nothing of it.
///
/// - Parameter options: run file, ranks, nodes.
/// - Returns: lines for a person, or JSON for a program.
/// - Throws: what is wrong with the run file, a model's configuration, the data or the ceilings.
public func plan(_ options: PlanOptions) throws -> String {
  let configuration = try RunConfiguration.load(
    path: options.configuration, overrides: options.overrides)
  try configuration.checkSizes()
  guard options.ranks <= configuration.batch.groups else {
    throw ConfigurationError(
      "\(options.ranks) ranks, but batch.groups is \(configuration.batch.groups): set "
        + "batch.groups ≥ ranks, or plan for fewer ranks")
  }
  if let threads = plannedThreads(options, configuration), threads > 1 << 16 {
    throw ConfigurationError("threads must be at most \(1 << 16) for a plan, found \(threads)")
  }
  let models = try PlannedModels(configuration)
  let lengths = try plannedLengths(options, configuration)
  let perNode = (options.ranks + options.nodes - 1) / options.nodes
  var notes: [String] = []
  let ceilings = try plannedCeilings(options, configuration, ranksOnNode: perNode, notes: &notes)
  let memory: Double
  switch (options.memoryBytes, configuration.memory) {
  case (let bytes?, _): memory = Double(bytes)
  // What a run file allows is a rank's.
  case (nil, .bytes(let bytes)): memory = Double(bytes) * Double(perNode)
  case (nil, .auto): memory = physicalMemoryBytes()
  }
  let plan = RunPlan(
    configuration, models: models, lengths: lengths,
    cluster: .init(
      rankCount: options.ranks, nodeCount: options.nodes,
      threads: plannedThreads(options, configuration)
        ?? max(1, ceilings.threads / perNode),
      memoryBytes: memory), ceilings: ceilings)
  return options.isJSON ? plan.json(notes: notes).indentedText : plan.text(notes: notes)
}

private func plannedLengths(
  _ options: PlanOptions, _ configuration: RunConfiguration
) throws -> RowLengths {
  if let stated = options.lengths {
    return RowLengths(
      prompt: stated.prompt, response: stated.response,
      responsesPerRow: configuration.method == .sft ? 1 : 2)
  }
  do { return try RowLengths(configuration) } catch {
    let (message, code) = describeFailure(error)
    let advice =
      "\(message) (to plan without the data, state --prompt-tokens and --response-tokens)"
    throw code == 2 ? ConfigurationError(advice) as any Error : DataError(advice)
  }
}

private func plannedThreads(
  _ options: PlanOptions, _ configuration: RunConfiguration
) -> Int? {
  if let threads = options.threads { return threads }
  guard case .count(let count) = configuration.threads else { return nil }
  return count
}

/// The ceilings that are asked for, those of this machine, or assumed ones.
private func plannedCeilings(
  _ options: PlanOptions, _ configuration: RunConfiguration, ranksOnNode: Int,
  notes: inout [String]
) throws -> Ceilings {
  let found =
    try options.ceilings.map { try Ceilings.load($0) }
    ?? Ceilings.kept(environment: options.environment, notes: &notes)
  guard let ceilings = found else {
    let threads = ranksOnNode * (plannedThreads(options, configuration) ?? 1)
    notes.append(
      "seconds rest on assumed speeds (100 GFLOP/s a thread in f32, 210 in bf16): run `sail "
        + "doctor` first")
    return .assumed(threads: max(threads, Compute.availableCPUCount), hasBF16: true)
  }
  notes.append(
    "seconds rest on what `sail doctor` measured on \(ceilings.host) with "
      + counted(ceilings.threads, "thread"))
  let type = configuration.precision.rawValue
  if !ceilings.products.contains(where: { $0.type == type }) {
    notes.append("no \(type) products were measured: f32 is taken")
  }
  return ceilings
}
