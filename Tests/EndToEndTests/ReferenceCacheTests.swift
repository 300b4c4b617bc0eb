import Foundation
import Glibc
import Testing

extension EndToEndTests {
  /// A cache of the reference's log-probabilities changes no bit of a run.
  @Suite struct ReferenceCaches {
    /// What a run says of its cache.
    private struct Counts: Equatable {
      /// Rows known at the start, taken from the cache, and added to it.
      var known: Int
      var taken: Int
      var added: Int
    }

    /// A run with the cache `cache`, its result and what it says.
    private func cached(
      _ run: MixedRun, _ output: String, _ settings: [String] = [], _ launch: Launch = .alone,
      resume: String = "never"
    ) throws -> (result: RunResult, counts: Counts, errors: String) {
      let cache = ["reference_cache=\(run.folder.file("cache"))"]
      let job = try sailDone(run.arguments(output, settings + cache, resume: resume), launch)
      let numbers = job.errors.split(separator: "\n").filter { $0.hasPrefix("reference cache ") }
        .flatMap { line in
          line.split(separator: ":").last?.split(whereSeparator: { " ,".contains($0) })
            .compactMap { Int($0) } ?? []
        }
      guard numbers.count == 3 else {
        throw JobError(description: "no counts of the cache in \(job.errors)")
      }
      return (
        try RunResult(run.folder.file(output)),
        Counts(known: numbers[0], taken: numbers[1], added: numbers[2]), job.errors
      )
    }

    private func cacheFile(_ folder: WorkFolder) throws -> String {
      let names = try folder.names("cache").filter { $0.hasSuffix(".logps") }
      #expect(names.count == 1, "\(names)")
      return "cache/\(names.first ?? "")"
    }

    /// Routes and evaluation, with offline and DDP rows kept and generated ones computed.
    @Test(arguments: [
      [], ["objective.revkl=0.1"],
      ["method=dpo", "sail=", "adapter={rank: 4}", "optimizer.learning_rate=1e-2"],
    ])
    func offColdAndWarmAreEqual(_ settings: [String]) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let off = try run.result("off", settings)
        let cold = try cached(run, "cold", settings, .ranks(2))
        #expect(cold.result == off, "\(cold.result.differences(from: off))")
        #expect(cold.counts.known == 0 && cold.counts.added > 16, "\(cold.counts)")
        let stored = try folder.bytes(cacheFile(folder))
        for ranks in [1, 2] {
          let warm = try cached(run, "warm-\(ranks)", settings, .ranks(ranks))
          #expect(warm.result == off, "\(ranks) ranks: \(warm.result.differences(from: off))")
          let all = cold.counts.added + cold.counts.taken
          #expect(warm.counts == Counts(known: cold.counts.added, taken: all, added: 0))
        }
        #expect(try folder.bytes(cacheFile(folder)) == stored)
        try FileManager.default.removeItem(atPath: folder.file("cache"))
        let alone = try cached(run, "cold-alone", settings)
        #expect(alone.result == off, "\(alone.result.differences(from: off))")
        #expect(try folder.bytes(cacheFile(folder)) == stored)
      }
    }

    /// Some rows of a group are there and some not: the others go through the reference without them.
    @Test(arguments: ["f32", "bf16"])
    func aHalfFilledCacheToo(_ precision: String) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["method=dpo", "sail=", "precision=\(precision)"]
        let off = try run.result("off", settings)
        _ = try cached(
          run, "other", settings + ["batch={pairs: 5, groups: 1}", "steps=5", "seed=9"])
        let result = try cached(run, "out", settings, .ranks(2))
        #expect(result.counts.taken > 0 && result.counts.added > 16, "\(result.counts)")
        #expect(result.result == off, "\(result.result.differences(from: off))")
      }
    }

    /// Products whose rows may depend on their neighbours: kept by whole groups.
    @Test func theOtherProductLibraryToo() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["method=dpo", "sail="]
        func launch(_ ranks: Int) -> Launch {
          Launch(ranks: ranks, environment: ["ONEDNN_MAX_CPU_ISA": "AVX2"])
        }
        let off = try run.result("off", settings, launch(1))
        let cold = try cached(run, "cold", settings, launch(2))
        #expect(cold.result == off, "\(cold.result.differences(from: off))")
        for ranks in [1, 2] {
          let warm = try cached(run, "warm-\(ranks)", settings, launch(ranks))
          #expect(warm.result == off, "\(ranks) ranks: \(warm.result.differences(from: off))")
          #expect(warm.counts.taken == cold.counts.added && warm.counts.added == 0)
        }
        // The same rows in other groups are others here, and what the first library found is no one's.
        let regrouped = try cached(run, "regrouped", settings + ["batch.groups=4"], launch(1))
        let alone = try run.result("alone", settings + ["batch.groups=4"], launch(1))
        #expect(regrouped.result == alone, "\(regrouped.result.differences(from: alone))")
        #expect(regrouped.counts.taken == 16, "the evaluation's: \(regrouped.counts)")
        #expect(try cached(run, "first", settings).counts.known == 0)
      }
    }

    @Test func anotherReferenceIsNotMistaken() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["method=dpo", "sail="]
        let first = try cached(run, "first", settings)
        let drawn = try cached(run, "drawn", settings + ["model.seed=2"])
        #expect(drawn.counts.known == 0 && drawn.counts.taken == 0)
        #expect(drawn.result == (try run.result("off", settings + ["model.seed=2"])))

        // A folder: known by its content, wherever it lies.
        func reference(_ name: String) -> [String] { settings + ["reference=\(folder.file(name))"] }
        let trained = try cached(run, "trained", reference("first/model"))
        #expect(trained.counts.known == 0 && trained.counts.added == first.counts.added)
        try folder.copy(folder.file("first/model"), as: "copy")
        let copied = try cached(run, "copied", reference("copy"), .ranks(2))
        #expect(copied.counts.taken == first.counts.added && copied.counts.added == 0)
        #expect(copied.result == trained.result)
        var bytes = try folder.bytes("copy/model.safetensors")
        bytes[bytes.count - 1] ^= 0x80
        try folder.write("copy/model.safetensors", bytes: bytes)
        let changed = try cached(run, "changed", reference("copy"))
        #expect(changed.counts.known == 0 && changed.counts.taken == 0)
      }
    }

    @Test func aDamagedFileIsSaidAndMended() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["method=dpo", "sail="]
        let off = try cached(run, "cold", settings)
        var bytes = try folder.bytes(cacheFile(folder))
        let whole = bytes
        bytes[100] ^= 1
        try folder.write(cacheFile(folder), bytes: bytes)
        let broken = try sail(["inspect", "--verify", folder.file("cache")])
        #expect(broken.code == 3 && broken.complaints.count == 1, "\(broken.errors)")
        let mended = try cached(run, "mended", settings, .ranks(2))
        #expect(mended.result == off.result, "\(mended.result.differences(from: off.result))")
        #expect(mended.errors.contains("warning: the reference cache is damaged"))
        // Lost is the record that the byte lies in.
        #expect(mended.counts.added == 64)
        #expect(mended.counts.known == off.counts.added - 64)
        #expect(mended.counts.taken == mended.counts.known)
        #expect(try folder.bytes(cacheFile(folder)) == whole)
        let inspected = try sailDone(["inspect", "--verify", folder.file("cache")])
        #expect(inspected.output.contains("log-probabilities of \(off.counts.added) pairs"))
      }
    }

    @Test func whatAKilledRunPublishedServes() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["steps=12", "evaluate.every=12"]
        let whole = try run.result("whole", settings)
        let cache = ["reference_cache=\(folder.file("cache"))"]
        let job = try RunningJob(run.arguments("out", settings + cache), .ranks(2))
        try job.wait(until: "the cache is published") {
          guard folder.exists("cache") else { return false }
          return try folder.names("cache").contains { $0.hasSuffix(".logps") }
        }
        try job.sendToRank(SIGKILL)
        #expect(try job.finish().code == 137)
        #expect(!folder.exists("out/model"), "the run was over before the kill")
        try sailDone(["inspect", "--verify", folder.file("cache")])
        let again = try cached(run, "again", settings)
        #expect(again.counts.known > 0 && again.counts.taken >= again.counts.known)
        #expect(again.result == whole, "\(again.result.differences(from: whole))")
        // The cache may come and go between a run and its continuation.
        let resumed = try run.result("out", settings, .ranks(2), resume: "auto")
        #expect(resumed == whole, "\(resumed.differences(from: whole))")
      }
    }

    @Test func runsShareItAtOnce() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let settings = ["method=dpo", "sail=", "checkpoint={every: 1, keep: 1}"]
        let cache = ["reference_cache=\(folder.file("cache"))"]
        let jobs = try (1...3).map { number in
          try RunningJob(
            run.arguments("out-\(number)", settings + cache + ["seed=\(number)"]),
            .ranks(number == 2 ? 2 : 1))
        }
        for job in jobs { #expect(try job.finish().code == 0) }
        for number in 1...3 {
          let off = try run.result("off-\(number)", settings + ["seed=\(number)"])
          let shared = try RunResult(folder.file("out-\(number)"))
          #expect(shared == off, "\(shared.differences(from: off))")
          let warm = try cached(run, "warm-\(number)", settings + ["seed=\(number)"])
          #expect(warm.counts.added == 0 && warm.counts.taken > 96, "\(warm.counts)")
        }
      }
    }
  }
}
