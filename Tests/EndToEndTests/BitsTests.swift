import Foundation
import Glibc
import JSONText
import Testing

extension EndToEndTests {
  /// Results do not depend on ranks, threads or interruptions, in no bit.
  @Suite struct Bits {
    @Test func ranksAndThreadsChangeNothing() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let alone = try run.result("alone")
        try expectAllRoutes(try folder.lines("alone/samples.jsonl"))
        for ranks in [1, 2, 4, 8] {
          for threads in [1, 2] {
            let name = "out-\(ranks)-\(threads)"
            let result = try run.result(name, ["threads=\(threads)"], .ranks(ranks))
            #expect(
              result == alone, "\(ranks) × \(threads): \(result.differences(from: alone))")
          }
        }

        // The test sees differences: training moves the weights, a seed moves training.
        let other = try run.result("seed", ["seed=4"])
        #expect(other.weights != alone.weights && other.samples != alone.samples)
        let start = try run.result("start", ["optimizer.learning_rate=1e-30", "steps=1"])
        let (first, last) = (try Tensors(folder.file("start/model")), try weights("alone", folder))
        #expect(start.weights != alone.weights)
        #expect(try last.minus(first).norms.allSatisfy { $0 > 0 })
      }
    }

    private func weights(_ output: String, _ folder: WorkFolder) throws -> Tensors {
      try Tensors(folder.file("\(output)/model"))
    }

    private func expectAllRoutes(_ samples: [JSON]) throws {
      #expect(samples.count == 96)
      for route in ["offline", "ddp", "dpp", "dpr"] {
        #expect(samples.filter { $0["route"]?.string == route }.count >= 8, "\(route)")
      }
      // Steps use the weights that the step before left.
      let first = try samples.filter { try $0.value("step") == 1 }
      #expect(try first.allSatisfy { abs(try $0.value("u")) < 1e-3 })
      let last = try samples.filter { try $0.value("step") == 6 }
      #expect(try last.contains { abs(try $0.value("u")) > 1e-2 })
    }

    @Test func theOtherProductLibraryToo() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        func result(_ ranks: Int, _ threads: Int) throws -> RunResult {
          let launch = Launch(ranks: ranks, environment: ["ONEDNN_MAX_CPU_ISA": "AVX2"])
          let name = "out-\(ranks)-\(threads)"
          let result = try run.result(name, ["threads=\(threads)"], launch)
          let kernels = try fileJSON(folder.file("\(name)/run.json")).words("kernels")
          #expect(kernels.contains("OpenBLAS"), "\(kernels)")
          return result
        }
        let first = try result(1, 1)
        for (ranks, threads) in [(1, 2), (2, 1), (2, 2)] {
          let other = try result(ranks, threads)
          #expect(other == first, "\(ranks) × \(threads): \(other.differences(from: first))")
        }
      }
    }

    @Test func roundsWeightsAndPenaltiesToo() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let alone = try run.result("alone", OnlineSteps.rounds)
        for (ranks, threads) in [(2, 1), (4, 2)] {
          let name = "out-\(ranks)-\(threads)"
          let result = try run.result(
            name, OnlineSteps.rounds + ["threads=\(threads)"], .ranks(ranks))
          #expect(result == alone, "\(ranks) × \(threads): \(result.differences(from: alone))")
        }
        // Going on in the middle of a round: its responses are in the checkpoint.
        for (name, checkpoint) in [("out-2-1", "step-00000002"), ("out-4-2", "step-00000004")] {
          let from = folder.file("\(name)/checkpoints/\(checkpoint)")
          let again = try run.result(name, OnlineSteps.rounds, .ranks(2), resume: from)
          #expect(again == alone, "\(checkpoint): \(again.differences(from: alone))")
        }
      }
    }

    /// A low-rank adapter with dropped inputs: its own weights, moments and exchange.
    @Test(arguments: ["bf16", "f32"]) func adaptersToo(_ precision: String) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = [
          "adapter={rank: 64, alpha: 8, dropout: 0.1, targets: [q_proj, o_proj, up_proj]}",
          "optimizer.learning_rate=1e-2", "precision=\(precision)",
        ]
        let alone = try run.result("alone", settings)
        try expectPrecision(precision, of: "alone", folder)
        #expect(alone.weights != (try run.result("none", settings + ["adapter.dropout=0"])).weights)
        for (ranks, threads, perNode) in [(2, 1, nil), (4, 2, 2), (8, 1, nil), (2, 1, 1)] {
          let name = "out-\(ranks)-\(threads)-\(perNode ?? 0)"
          let result = try run.result(
            name, settings + ["threads=\(threads)"], .ranks(ranks), ranksPerNode: perNode)
          #expect(result == alone, "\(name): \(result.differences(from: alone))")
        }
        let from = folder.file("out-4-2-2/checkpoints/step-00000002")
        let again = try run.result("out-4-2-2", settings, .ranks(2), resume: from)
        #expect(again == alone, "\(again.differences(from: alone))")
      }
    }

    /// That a run computed as it was asked to, where the CPU has instructions for bf16, else in f32.
    private func expectPrecision(
      _ precision: String, of output: String, _ folder: WorkFolder
    ) throws {
      let flags = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
      let isAble = flags.contains("avx512_bf16") || flags.contains("amx_bf16")
      let facts = try fileJSON(folder.file("\(output)/run.json"))
      #expect(facts["precision"]?.string == (isAble ? precision : "f32"))
    }

    /// bf16 products; and layers that are computed again, since their values did not fit.
    @Test(arguments: ["bf16", "f32"]) func precisionsAndMemoryLimitsToo(_ precision: String) throws
    {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["precision=\(precision)", "optimizer.learning_rate=1e-2"]
        let alone = try run.result("alone", settings)
        try expectPrecision(precision, of: "alone", folder)
        for (ranks, threads, memory) in [(1, 2, "4MB"), (2, 1, "auto"), (4, 2, "4MB")] {
          let name = "out-\(ranks)-\(threads)"
          let result = try run.result(
            name, settings + ["threads=\(threads)", "memory=\(memory)"], .ranks(ranks))
          #expect(result == alone, "\(ranks) × \(threads): \(result.differences(from: alone))")
        }
        let from = folder.file("out-4-2/checkpoints/step-00000002")
        let again = try run.result("out-4-2", settings, .ranks(2), resume: from)
        #expect(again == alone, "\(again.differences(from: alone))")
      }
    }

    /// Ranks on several nodes, which send each other gradients and weights.
    @Test(arguments: ["bf16", "f32"]) func nodesChangeNothing(_ precision: String) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["precision=\(precision)", "optimizer.learning_rate=1e-2", "threads=1"]
        let alone = try run.result("alone", settings)
        try expectPrecision(precision, of: "alone", folder)
        for (ranks, perNode) in [(2, 1), (4, 2), (5, 2)] {
          let name = "out-\(ranks)-\(perNode)"
          let result = try run.result(name, settings, .ranks(ranks), ranksPerNode: perNode)
          #expect(
            result == alone, "\(ranks), \(perNode) a node: \(result.differences(from: alone))")
        }
        let from = folder.file("out-4-2/checkpoints/step-00000002")
        let again = try run.result("out-4-2", settings, .ranks(3), ranksPerNode: 1, resume: from)
        #expect(again == alone, "\(again.differences(from: alone))")
      }
    }

    @Test func rewardModelsToo() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["method=reward", "sail="]
        let alone = try run.result("alone", settings)
        for (ranks, threads) in [(2, 1), (4, 2), (8, 1)] {
          let name = "out-\(ranks)-\(threads)"
          let result = try run.result(name, settings + ["threads=\(threads)"], .ranks(ranks))
          #expect(result == alone, "\(ranks) × \(threads): \(result.differences(from: alone))")
        }
        let from = folder.file("out-4-2/checkpoints/step-00000002")
        let again = try run.result("out-4-2", settings, .ranks(2), resume: from)
        #expect(again == alone, "\(again.differences(from: alone))")
        #expect(alone.weights != (try run.result("seed", settings + ["seed=4"])).weights)
      }
    }

    @Test func theCutIntoGroupsChangesRoundingOnly() throws {
      // Pairs of a group × groups × ranks: 1 × 8, 2 × 4, 8 × 1.
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = [
          "method=dpo", "sail=", "batch.pairs=8", "steps=1", "objective.revkl=0.1",
          "optimizer={name: sgd, learning_rate: 1, clip: 0}", "evaluate.every=0",
        ]
        var updates: [Tensors] = []
        let start = try run.result("start", settings + ["optimizer.learning_rate=1e-30"])
        for groups in [8, 4, 1] {
          let alone = try run.result("out-\(groups)", settings + ["batch.groups=\(groups)"])
          #expect(alone.weights != start.weights)
          updates.append(
            try weights("out-\(groups)", folder).minus(weights("start", folder)))
          for ranks in [2, 4, 8] where ranks <= groups {
            let name = "out-\(groups)-\(ranks)"
            let result = try run.result(
              name, settings + ["batch.groups=\(groups)"], .ranks(ranks))
            #expect(result == alone, "\(groups) groups: \(result.differences(from: alone))")
          }
        }
        for update in updates.dropFirst() {
          #expect(try update.minus(updates[0]).norm / updates[0].norm <= 1e-5)
        }
      }
    }

    @Test func goingOnEqualsNotStopping() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let whole = try run.result("whole")
        for (first, second) in [(1, 1), (1, 4), (3, 2)] {
          let name = "out-\(first)-\(second)"
          try sailDone(run.arguments(name, ["steps=3"]), .ranks(first))
          let half = try RunResult(folder.file(name))
          #expect(half.weights != whole.weights)
          let result = try run.result(name, ["threads=1"], .ranks(second), resume: "auto")
          #expect(result == whole, "\(first), \(second): \(result.differences(from: whole))")
        }
        // From a checkpoint that is not the newest, into the same folder.
        let old = folder.file("out-1-4/checkpoints/step-00000002")
        let again = try run.result("out-1-4", [], .ranks(2), resume: old)
        #expect(again == whole, "\(again.differences(from: whole))")
      }
    }

    /// Long enough for a signal to come in the middle.
    private static let long = ["steps=12", "checkpoint.keep=3", "evaluate.every=12"]

    /// Without mpirun the program is killed, under mpirun one of its ranks.
    @Test(arguments: [nil, 2])
    func goingOnAfterAKill(_ ranks: Int?) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let whole = try run.result("whole", Self.long)
        let job = try RunningJob(run.arguments("out", Self.long), Launch(ranks: ranks))
        try job.wait(until: "a checkpoint and a step more") {
          guard folder.exists("out/checkpoints/step-00000002") else { return false }
          let lineCount = try folder.bytes("out/metrics.jsonl").filter { $0 == 10 }.count
          return lineCount >= 3
        }
        if ranks == nil { job.send(SIGKILL) } else { try job.sendToRank(SIGKILL) }
        let killed = try job.finish()
        #expect(killed.code == (ranks == nil ? nil : 137), "\(killed.errors)")
        #expect(!folder.exists("out/model"), "the run was over before the kill")
        let result = try run.result("out", Self.long, Launch(ranks: ranks), resume: "auto")
        #expect(result == whole, "\(result.differences(from: whole))")
        // Nothing unfinished is left.
        #expect(
          try folder.names("out/checkpoints") == ["08", "10", "12"].map { "step-000000\($0)" })
      }
    }

    @Test func stoppedOnRequest() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let whole = try run.result("whole", Self.long)
        let job = try RunningJob(run.arguments("out", Self.long), .ranks(2))
        try job.wait(until: "the first step is done") { folder.exists("out/metrics.jsonl") }
        job.send(SIGUSR1)
        let stopped = try job.finish()
        #expect(stopped.code == 75, "\(stopped.errors)")
        #expect(stopped.errors.contains("stopped on request after step"))
        #expect(stopped.complaints.isEmpty)
        let newest = try #require(try folder.names("out/checkpoints").last)
        try sailDone(["inspect", "--verify", folder.file("out/checkpoints/\(newest)")])
        let result = try run.result("out", Self.long, .ranks(2), resume: "auto")
        #expect(result == whole, "\(result.differences(from: whole))")
      }
    }
  }
}
