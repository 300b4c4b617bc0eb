import JSONText
import Testing

extension EndToEndTests {
  /// `sail check-gradient` on a small model and all routes.
  @Suite struct CheckGradientCommand {
    private static let settings = [
      "sail.ddp.labels=sample", "sail.dpp.labels=expected", "objective.revkl=0.01",
    ]

    private func arguments(_ run: MixedRun, _ more: [String] = [], settings: [String] = [])
      -> [String]
    {
      ["check-gradient", "--config", run.folder.file("run.yaml")]
        + (["output=\(run.folder.file("unused"))"] + Self.settings + settings).flatMap {
          ["--set", $0]
        } + more
    }

    @Test(arguments: [
      [], ["objective.link=probit", "sail.dpp.labels=sample"],
      ["objective.revkl_on=reference", "sail.dpr.labels=soft"],
      ["sail.importance_weights=true", "generation.temperature=0.8"],
      ["sail.t1_estimator=released"],
    ])
    func everyTermIsTheSlopeOfItsLoss(_ settings: [String]) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        // Ten times finer than what the command asks for.
        let job = try sailDone(
          arguments(run, ["--tolerance", "1e-3", "--displacement", "0.05"], settings: settings))
        let lines = job.output.split(separator: "\n")
        for term in ["t1", "t2", "t3", "revkl", "all"] {
          let rows = lines.filter { $0.hasPrefix(term + " ") }
          #expect(rows.count == 2 && rows.allSatisfy { $0.contains(" ok") }, "\(job.output)")
        }
        #expect(!folder.exists("unused"))
      }
    }

    @Test func ranksChangeNothing() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let alone = try sailDone(arguments(run)).output
        #expect(try sailDone(arguments(run), .ranks(2)).output == alone)
        #expect(try sailDone(arguments(run), .ranks(4)).output == alone)
      }
    }

    /// Each rank reads the sizes of whole tensors, of which other nodes hold a part.
    ///
    /// In bf16 differences are too coarse to pass.
    @Test(arguments: ["bf16", "f32"]) func nodesChangeNothing(_ precision: String) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let arguments = arguments(run, settings: ["precision=\(precision)", "batch.pairs=8"])
        let alone = try sail(arguments).output
        #expect(alone.contains("\nall "), "\(alone)")
        let nodes = try sail(arguments + ["--ranks-per-node", "1"], .ranks(3))
        #expect(nodes.output == alone)
      }
    }

    @Test func whatIsTooFarApartIsAnError() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let job = try sail(arguments(run, ["--tolerance", "1e-12"]))
        #expect(job.code == 1)
        #expect(job.output.contains("DIFFERS"))
        #expect(job.errors.contains("check-gradient: the slope of"), "\(job.errors)")
        let sft = try sail(arguments(run, ["--set", "method=sft", "--set", "sail="]))
        #expect(sft.code == 2 && sft.errors.contains("has no terms to check"), "\(sft.errors)")
      }
    }
  }
}
