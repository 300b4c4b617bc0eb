import Foundation
import JSONText
import Testing

extension EndToEndTests {
  @Suite struct DoctorTests {
    /// A report for people, one for programs, and ceilings in the user's cache folder.
    @Test(arguments: [nil, 2])
    func reports(ranks: Int?) throws {
      try withWorkFolder { folder in
        let launch = Launch(
          ranks: ranks, environment: ["XDG_CACHE_HOME": folder.path], folder: folder.path)
        let job = try sailDone(["doctor", "--json", "doctor.json"], launch)
        for part in ["CPU", "memory", "rank 0", "GFLOP/s", "GB/s", "kept for `sail plan`"] {
          #expect(job.output.contains(part), "\(part): \(job.output)")
        }
        #expect(job.output.contains("rank 1") == (ranks == 2))
        let nodes = try fileJSON(folder.file("doctor.json")).list("nodes")
        let node = try #require(nodes.count == 1 ? nodes.first : nil)
        #expect(try node.list("ranks").count == ranks ?? 1)
        let ceilings = try #require(node["ceilings"])
        for product in try ceilings.list("products") {
          #expect(try product.value("gigaflops") > 0)
        }
        for access in try ceilings.list("memory") {
          #expect(try access.value("gigabytes_per_second") > 0)
        }
        #expect(ceilings.has("gradient_sum_gigabytes_per_second") == (ranks == 2))
      }
    }

    @Test(arguments: [
      (["doctor", "--threads", "0"], "--threads must be at least 1"),
      (["doctor", "--threads", "100000"], "four for each CPU"),
      (["doctor", "--json", "nowhere/doctor.json"], "there is no folder nowhere"),
      (["doctor", "--json", "/tmp"], "--json wants a file"),
    ])
    func badInputIsRefused(_ arguments: [String], part: String) throws {
      let job = try sail(arguments)
      #expect(job.code != 0 && job.code != 1, "\(job.errors)")
      #expect(job.errors.contains(part), "\(job.errors)")
      #expect(job.output.isEmpty)
    }
  }
}
