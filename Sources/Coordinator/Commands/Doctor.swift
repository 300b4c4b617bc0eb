import Checkpoint
import Comm
import Foundation
import JSONText
import Tensor

/// What `sail doctor` is asked.
public struct DoctorOptions: Sendable {
  /// File for a program to read, nil for none.
  public var jsonFile: String?
  /// Threads a rank, nil for all that it may use.
  public var threads: Int?
  /// The process's environment, which says where ceilings are kept.
  public var environment: [String: String]

  /// Options from their parts.
  public init(jsonFile: String?, threads: Int?, environment: [String: String]) {
    self.jsonFile = jsonFile
    self.threads = threads
    self.environment = environment
  }
}

/// Says how the ranks were started on their nodes, measures what these reach, and what is wrong;
/// collective.
///
/// Prints a report on standard output. Keeps each node's ceilings in the user's cache folder, for
/// `sail plan` and the benchmarks.
/// - Parameters:
///   - options: file, threads, environment.
///   - communicator: all ranks.
/// - Returns: the exit code.
/// - Throws: what is wrong with the options, or an error of MPI.
public func doctor(
  _ options: DoctorOptions, communicator: borrowing Communicator
) throws -> Int32 {
  let isLeader = communicator.rank == 0
  try communicator.agree {
    try checkTileSetting()
    if let file = options.jsonFile { try checkWritable(file, option: "--json") }
  }
  let threads = try threadCount(
    options.threads.map { .count($0) } ?? .auto, communicator: communicator)
  // All ranks sleep together in it, so that none that waits counts as busy.
  try communicator.barrier()
  let machine = Machine.current
  let node = communicator.nodeOfRank[communicator.rank]
  let place = RankPlace(
    rank: communicator.rank, node: node, host: machine.host, threads: threads)
  let places = try communicator.allGather(bytes: Array(place.json.text.utf8)).compactMap {
    RankPlace(try JSON(parsing: $0))
  }
  let progress = ProgressLine(style: .auto, isShown: isLeader)
  let start = Stopwatch.now
  var ceilings = try SpeedSurvey.measure(
    machine, threads: threads, communicator: communicator
  ) { name, share in
    progress.show("doctor · \(name)", done: Int(100 * share), of: 100, since: start)
  }
  let ranks = places.filter { $0.node == node }
  var troubles = troubles(
    of: machine, ranks: ranks, hasFastKernels: ceilings.kernels.hasPrefix("oneDNN"))
  do {
    ceilings.sumRate = try SpeedSurvey.sumRate(communicator: communicator)
  } catch let failure as AgreedFailure {
    troubles.append(
      Trouble(
        wrong: "the ranks could not share memory: \(failure.message)",
        mend: "see to that first; a run would end with the same message"))
  }
  progress.finish()
  troubles += measuredTroubles(ceilings)
  let report = NodeReport(
    machine: machine, ranks: ranks, ceilings: ceilings, troubles: troubles,
    saved: communicator.nodeRank == 0 ? save(ceilings, troubles, options.environment) : "")
  try publish(report, to: options.jsonFile, communicator: communicator)
  return 0
}

/// Keeps ceilings where `sail plan` finds them; the sentence says where, or why not.
private func save(
  _ ceilings: Ceilings, _ troubles: [Trouble], _ environment: [String: String]
) -> String {
  if troubles.contains(where: \.spoilsSpeeds) {
    return "the speeds are not kept for `sail plan`: they are not the machine's"
  }
  guard let folder = Ceilings.folder(environment: environment) else {
    return "the speeds are not kept for `sail plan`: neither XDG_CACHE_HOME nor HOME is set"
  }
  do {
    return "the speeds are kept for `sail plan` in \(try ceilings.save(in: folder))"
  } catch {
    return "the speeds are not kept for `sail plan`: \(error)"
  }
}

/// What speeds tell.
func measuredTroubles(_ ceilings: Ceilings) -> [Trouble] {
  guard let all = ceilings.products.first(where: { $0.threads == ceilings.threads }),
    let alone = ceilings.products.first(where: {
      $0.threads < all.threads && $0.type == all.type && $0.kind == all.kind
        && $0.rows == all.rows && $0.columns == all.columns && $0.inner == all.inner
    })
  else { return [] }
  let gain = all.rate.best / alone.rate.best
  let threads = Double(all.threads) / Double(alone.threads)
  guard gain < 0.6 * threads else { return [] }
  return [
    Trouble(
      wrong: String(
        format: "%d threads do products only %.1f times as fast as %d", all.threads, gain,
        alone.threads),
      mend: "see whether something else uses the CPUs, or whether they are hyper-threads: then "
        + "set threads to the number of cores")
  ]
}

/// Prints the reports of all nodes and writes them as JSON, by rank 0; collective.
private func publish(
  _ report: NodeReport, to file: String?, communicator: borrowing Communicator
) throws {
  let isNodeLeader = communicator.nodeRank == 0
  let texts = try communicator.allGather(bytes: isNodeLeader ? Array(report.text.utf8) : [])
    .filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }
  let nodes = try communicator.allGather(bytes: isNodeLeader ? Array(report.json.text.utf8) : [])
    .filter { !$0.isEmpty }
  try communicator.agree {
    guard communicator.rank == 0 else { return }
    let parsed = try nodes.map { try JSON(parsing: $0) }
    print("sail \(sailVersion) (\(libraryVersions))")
    print(texts.joined(separator: "\n\n"))
    let kinds = Set(
      parsed.map { "\($0["cpu"]?.text ?? ""), \($0["ceilings"]?["kernels"]?.text ?? "")" })
    if kinds.count > 1 {
      print("  wrong: the nodes are of different kinds: \(kinds.sorted().joined(separator: "; "))")
      print("   mend: use nodes of one CPU type, or results depend on which node computes what")
    }
    guard let file else { return }
    let content: JSON = [
      "sail": .string(sailVersion), "libraries": .string(libraryVersions),
      "nodes": .array(parsed),
    ]
    try writeFileAtomically(Array((content.indentedText + "\n").utf8), path: file)
  }
}
