import Testing

/// How a job is cut into pretended nodes.
struct Layout: CustomTestStringConvertible {
  let ranks: Int
  let nodes: Int
  let options: [String]
  var testDescription: String { "\(ranks) ranks \(options.joined(separator: " "))" }

  init(_ ranks: Int, perNode: Int? = nil, dealt: Bool = false) {
    self.ranks = ranks
    nodes = perNode.map { (ranks + $0 - 1) / $0 } ?? 1
    options =
      (perNode.map { ["--ranks-per-node", "\($0)"] } ?? []) + (dealt ? ["--round-robin"] : [])
  }

  static let all = [
    Layout(1), Layout(2), Layout(3), Layout(4), Layout(1, perNode: 1), Layout(2, perNode: 1),
    Layout(3, perNode: 1), Layout(4, perNode: 1), Layout(2, perNode: 2), Layout(3, perNode: 2),
    Layout(4, perNode: 2), Layout(3, perNode: 2, dealt: true), Layout(4, perNode: 2, dealt: true),
  ]
}

/// The layer on MPI, by `comm-check` under mpirun.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct CommTests {
  /// Collectives, node memory, ordered sum, publish, refused lengths, agree.
  @Test(arguments: Layout.all)
  func everyCase(_ layout: Layout) throws {
    try expectDone(layout)
  }

  @Test(arguments: [Layout(4), Layout(3, perNode: 1), Layout(4, perNode: 2, dealt: true)])
  func everyCaseInSmallMessages(_ layout: Layout) throws {
    try expectDone(layout, ["--largest-message", "700", "--staging", "4096"])
  }

  @Test func collectivesInTinyMessages() throws {
    let job = try Job.start(ranks: 3, ["collectives", "--largest-message", "7"])
    #expect(job.output == "collectives: ok, 3 ranks on 1 nodes\n")
    #expect(job.status == 0, "\(job.errors)")
  }

  private func expectDone(_ layout: Layout, _ options: [String] = []) throws {
    let job = try Job.start(ranks: layout.ranks, ["all"] + layout.options + options)
    let lines = ["collectives", "arrays", "sum", "publish", "lengths", "agree"].map {
      "\($0): ok, \(layout.ranks) ranks on \(layout.nodes) nodes\n"
    }
    #expect(job.output == lines.joined())
    #expect(job.status == 0, "\(job.errors)")
  }
}
