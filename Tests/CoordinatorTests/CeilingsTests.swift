import Foundation
import JSONText
import Testing

@testable import Coordinator

@Suite struct CeilingsTests {
  private static let ceilings: Ceilings = {
    var ceilings = Ceilings(host: "a.b", cpu: "Some (R) CPU", threads: 2, kernels: "brg")
    ceilings.products = [
      .init(
        kind: .inputGradient, type: "f32", rows: 32, columns: 64, inner: 16, threads: 2,
        rate: .init(best: 2e11, typical: 1e11))
    ]
    ceilings.accesses = [.init(access: .read, threads: 2, rate: .init(best: 3e10, typical: 2e10))]
    ceilings.sumRate = 1e10
    return ceilings
  }()

  @Test func aFileHoldsThem() throws {
    let folder = FileManager.default.temporaryDirectory.path + "/sail-\(UUID().uuidString)/deep"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = try Self.ceilings.save(in: folder)
    #expect(path == folder + "/ceilings-a-b-Some-R-CPU.json")
    #expect(try Ceilings.load(path) == Self.ceilings)
  }

  @Test(
    arguments: [
      ("version", JSON.integer(1), "expected ceilings of version 2, found 1"),
      ("version", .null, "found no version"), ("threads", 0, "threads"),
      ("products", [["product": "forward"]], "a product is damaged"),
      ("memory", [["access": "read", "threads": 1, "gigabytes_per_second": 0]], "damaged"),
      ("gradient_sum_gigabytes_per_second", 1e308, "damaged"),
      ("gradient_sum_gigabytes_per_second", 1e-300, "damaged"),
      ("gradient_sum_gigabytes_per_second", "fast", "damaged"),
    ] as [(String, JSON, String)])
  func damageIsSaid(_ key: String, _ value: JSON, part: String) throws {
    let members = (Self.ceilings.json.members ?? []).map {
      JSON.Member(key: $0.key, value: $0.key == key ? value : $0.value)
    }
    let error = try #require(throws: ConfigurationError.self) {
      try Ceilings(.object(members), file: "c.json")
    }
    #expect(error.description.hasPrefix("c.json: ") && error.description.contains(part))
  }

  @Test func theUsersFolder() {
    #expect(Ceilings.folder(environment: ["HOME": "/h", "XDG_CACHE_HOME": "/c"]) == "/c/sail")
    let relative = ["HOME": "/h", "XDG_CACHE_HOME": "c"]
    #expect(Ceilings.folder(environment: relative) == "/h/.cache/sail")
    #expect(Ceilings.folder(environment: [:]) == nil)
  }

  /// Kept ceilings of another version do not stop a plan that nobody gave them to.
  @Test func keptOnesThatAreOfNoUseAreToldOf() throws {
    let folder = FileManager.default.temporaryDirectory.path + "/sail-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let environment = ["XDG_CACHE_HOME": folder]
    var notes: [String] = []
    #expect(Ceilings.kept(environment: environment, notes: &notes) == nil && notes.isEmpty)

    let machine = Machine.identity
    let ceilings = Ceilings(
      host: machine.host, cpu: machine.cpu, threads: 1, kernels: "brg")
    let path = try ceilings.save(in: folder + "/sail")
    #expect(Ceilings.kept(environment: environment, notes: &notes) == ceilings && notes.isEmpty)

    try Data("{\"version\": 1}".utf8).write(to: URL(fileURLWithPath: path))
    #expect(Ceilings.kept(environment: environment, notes: &notes) == nil)
    #expect(notes.count == 1 && notes[0].contains("found 1"), "\(notes)")
  }
}
