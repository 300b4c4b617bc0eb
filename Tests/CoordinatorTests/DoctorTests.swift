import Testing

@testable import Coordinator

@Suite struct DoctorTests {
  private static let machine: Machine = {
    var machine = Machine()
    machine.host = "node1"
    machine.cpu = "CPU"
    machine.flags = ["avx2", "fma", "avx512f"]
    machine.cores = [[0], [1], [2], [3]]
    machine.domains = [[0, 1, 2, 3]]
    (machine.memoryBytes, machine.availableBytes) = (16e9, 15e9)
    (machine.sharedBytes, machine.freeSharedBytes) = (16e9, 16e9)
    return machine
  }()

  private static func place(_ rank: Int, _ cpus: [Int], threads: Int) -> RankPlace {
    RankPlace(
      rank: rank, node: 0, host: "node1", cpus: cpus, launcherCPUs: [0, 1, 2, 3],
      threads: threads)
  }

  /// What a machine and its ranks are told, by a word of each sentence.
  @Test(
    arguments: [
      ("all CPUs", [place(0, [0, 1, 2, 3], threads: 4)], []),
      ("bound to a core", [place(0, [0], threads: 1)], ["may use 1 of 4 CPUs (0)"]),
      ("one CPU short", [place(0, [0, 1, 2], threads: 3)], ["may use 3 of 4 CPUs (0-2)"]),
      ("bound apart", [place(0, [0, 1], threads: 2), place(1, [2, 3], threads: 2)], []),
      ("too many threads", [place(0, [0, 1, 2, 3], threads: 8)], ["runs 8 threads on 4 CPUs"]),
      (
        "ranks that share CPUs", (0..<6).map { place($0, [0, 1, 2, 3], threads: 1) },
        ["6 ranks with 6 threads share 4 CPUs"]
      ),
    ] as [(String, [RankPlace], [String])])
  func binding(_ name: String, _ ranks: [RankPlace], expected: [String]) {
    let found = troubles(of: Self.machine, ranks: ranks, hasFastKernels: true)
    #expect(found.count == expected.count, "\(name): \(found)")
    for (trouble, part) in zip(found, expected) {
      #expect(trouble.wrong.contains(part), "\(trouble.wrong)")
      #expect(trouble.spoilsSpeeds)
    }
  }

  @Test func whatIsWrongWithAMachine() {
    var machine = Self.machine
    machine.cores = [[0, 2], [1, 3]]
    machine.availableBytes = 4e9
    machine.freeSharedBytes = 64e6
    machine.busyCPUs = 1.5
    machine.quota = 1.5
    let ranks = [
      Self.place(0, [0, 1, 2, 3], threads: 2), Self.place(1, [0, 1, 2, 3], threads: 2),
    ]
    let found = troubles(of: machine, ranks: ranks, hasFastKernels: false)
    let parts = [
      "4 threads run on 2 cores", "the time of 1.5 CPUs", "OpenBLAS", "64 MB free, and weights",
      "only 4.0 GB of 16.0 GB", "1.5 of 4 CPUs",
    ]
    #expect(found.count == parts.count, "\(found)")
    for (trouble, part) in zip(found, parts) { #expect(trouble.wrong.contains(part)) }
    machine.domains = [[0, 1], [2, 3]]
    machine.quota = nil
    let alone = troubles(
      of: machine, ranks: [Self.place(0, [0, 1, 2, 3], threads: 2)], hasFastKernels: true)
    #expect(alone.contains { $0.wrong.contains("2 NUMA domains") })
    #expect(!alone.contains { $0.wrong.contains("/dev/shm") })
  }

  @Test func threadsThatDoNotHelpAreSaid() {
    var ceilings = Ceilings(host: "h", cpu: "c", threads: 2, kernels: "k")
    func add(threads: Int, _ rate: Double) {
      ceilings.products.append(
        .init(
          kind: .forward, type: "f32", rows: 8, columns: 8, inner: 8, threads: threads,
          rate: .init(always: rate)))
    }
    add(threads: 1, 100e9)
    add(threads: 2, 115e9)
    let expected = "2 threads do products only 1.1 times as fast as 1"
    #expect(measuredTroubles(ceilings).first?.wrong == expected)
    ceilings.products[1].rate.best = 190e9
    #expect(measuredTroubles(ceilings).isEmpty)
  }

  @Test func listsOfTheKernel() {
    #expect(numberList("0-3,8\n") == [0, 1, 2, 3, 8])
    #expect(numberList("") == [] && numberList("3-1") == [] && numberList("0-99999999") == [])
    #expect(listText([8, 0, 1, 2, 3]) == "0-3,8")
    #expect(value(of: "flags", in: "a : b\nflags\t\t: fpu vme\n") == "fpu vme")
    #expect(kilobytes("MemTotal", "MemTotal:       2 kB\n") == 2048)
    let before = CPUTimes("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n")
    let after = CPUTimes("cpu  30 0 40 140 10 0 0 0 0 0\ncpu0 0\ncpu1 0\n")
    #expect(after.busyCPUs(since: before) == 1)
  }
}
