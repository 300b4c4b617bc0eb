import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// Bad input is one sentence and an exit code, soon, and never a signal.
  @Suite struct Refusals {
    private static let longestSeconds = 30.0

    @Test(
      arguments:
        modelRefusals + adapterRefusals + dataRefusals + dataSetRefusals + rewardRefusals
        + runFileRefusals + fileRefusals)
    func isRefused(_ refusal: Refusal) throws {
      try check(refusal, ranks: nil)
    }

    /// One of each kind: the sentence comes once, whatever the rank count.
    @Test(arguments: [
      modelRefusals[0], modelRefusals[1], modelRefusals[5], dataRefusals[0], dataSetRefusals[0],
      dataSetRefusals[3], runFileRefusals[0],
      runFileRefusals[2], runFileRefusals[3], rewardRefusals[0], rewardRefusals[5],
    ])
    func isRefusedOnceByAllRanks(_ refusal: Refusal) throws {
      try check(refusal, ranks: 2)
    }

    private func check(_ refusal: Refusal, ranks: Int?) throws {
      try withWorkFolder { folder in
        let arguments = try refusal.arguments(folder)
        let job = try sail(arguments, Launch(ranks: ranks, folder: folder.path))
        #expect(job.code == refusal.code, "\(job.errors)")
        #expect(job.complaints.count == 1, "\(job.errors)")
        for part in refusal.parts {
          #expect(job.complaints.first?.contains(part) == true, "\(part): \(job.errors)")
        }
        #expect(job.seconds < Self.longestSeconds)
        #expect(!folder.exists("out.jsonl"))
        #expect(job.output.isEmpty)
      }
    }

    @Test(arguments: [
      ([], "USAGE"), (["frobnicate"], "frobnicate"), (["train"], "--config"),
      (["score", "--model", "a", "--data", "b"], "--out"),
      (["score", "--model", "a", "--data", "b", "--out", "c", "--threads", "0"], "--threads"),
      (["score", "--model", "a", "--data", "b", "--out", "c", "--precision", "f8"], "f8"),
      (["generate", "--model", "a", "--data", "b", "--out", "c", "--top-p", "2"], "--top-p"),
    ])
    func wrongUsage(_ arguments: [String], part: String) throws {
      let job = try sail(arguments)
      // Without a command there is help, which is no error.
      #expect(arguments.isEmpty ? job.code == 0 : job.code == 2 || job.code == 64)
      #expect((job.output + job.errors).contains(part), "\(job.errors)")
      #expect(job.seconds < Self.longestSeconds)
    }

    @Test func copiesThatDoNotSeeEachOtherAreRefused() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let job = try sail(
          run.arguments(), Launch(environment: ["OMPI_COMM_WORLD_SIZE": "4"]))
        #expect(job.code == 2)
        #expect(job.complaints.count == 1)
        #expect(job.complaints.first?.contains("the launcher started 4 copies") == true)
        #expect(!folder.exists("out"))
      }
    }

    @Test func aMissingLauncherIsAnError() throws {
      let error = try #require(throws: JobError.self) {
        try findProgram("mpirun", path: "/nonexistent:/dev")
      }
      #expect(error.description.hasPrefix("mpirun is not on PATH (/nonexistent:/dev)"))
    }

    @Test func versionsAreNamed() throws {
      let job = try sailDone(["--version"])
      for name in ["sail ", "Open MPI", "OpenBLAS"] { #expect(job.output.contains(name), "\(job)") }
    }
  }
}
