import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// What numbers depend on beside the input is checked: over ranks, and from a run to what goes on.
  @Suite struct ArithmeticTests {
    /// Makes oneDNN give way to OpenBLAS on every CPU.
    private static let otherKernels = ["ONEDNN_MAX_CPU_ISA": "AVX2"]

    @Test func aRunThatGoesOnWithOtherKernelsSaysSo() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let same = try sailDone(run.arguments(["steps=2"]))
        #expect(!same.errors.contains("warning"), "\(same.errors)")
        let again = try sailDone(run.arguments(["steps=4"], resume: "auto"), .ranks(2))
        #expect(!again.errors.contains("warning"), "\(again.errors)")
        let other = try sailDone(
          run.arguments(resume: "auto"), Launch(environment: Self.otherKernels))
        for part in [
          "warning: the checkpoint was written with other", "kernels (", "OpenBLAS",
          "environments (none; ONEDNN_MAX_CPU_ISA=AVX2)",
        ] {
          #expect(other.errors.contains(part), "\(part): \(other.errors)")
        }
        let log = String(decoding: try folder.bytes("out/log.txt"), as: UTF8.self)
        #expect(log.contains("with other kernels"), "\(log)")
      }
    }

    @Test func ranksWithOtherKernelsAreTold() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let launch = Launch(ranks: 2, lastRankEnvironment: Self.otherKernels)
        let job = try sailDone(run.arguments(), launch)
        #expect(
          job.errors.contains("warning: ranks 0 and 1 have other kernels ("), "\(job.errors)")
        let kernels = try fileJSON(folder.file("out/run.json")).words("kernels")
        #expect(kernels.contains(" | "), "\(kernels)")
      }
    }

    @Test(arguments: ["OFF", "0", ""]) func anUnknownSettingOfTheTilesIsRefused(_ value: String)
      throws
    {
      let arguments = ["score", "--model", fixture("gqa-tied"), "--data", fixture("pairs.jsonl")]
      for command in [arguments + ["--out", "/dev/null"], ["doctor"]] {
        let job = try sail(command, Launch(environment: ["SAIL_TILES": value]))
        #expect(job.code == 2 && job.complaints.count == 1, "\(job.errors)")
        #expect(job.errors.contains("SAIL_TILES must be on or off, found \"\(value)\""))
      }
    }
  }
}
