import Foundation
import JSONText
import Tensor

/// What `sail doctor` found on one node.
struct NodeReport {
  var machine: Machine
  var ranks: [RankPlace]
  var ceilings: Ceilings
  var troubles: [Trouble]
  /// Where the ceilings are kept, or why they are not.
  var saved: String
}

extension NodeReport {
  /// For a person.
  var text: String {
    var lines = ["node \(machine.host)"]
    func line(_ name: String, _ text: String) {
      lines.append("  " + name.padding(toLength: 12, withPad: " ", startingAt: 0) + text)
    }
    let domains = max(1, machine.domains.count)
    line(
      "CPU",
      "\(machine.cpu): \(counted(machine.cpuCount, "CPU")), "
        + "\(counted(machine.cores.count, "core")), \(counted(domains, "NUMA domain"))")
    line("", machine.flags.joined(separator: " "))
    line(
      "memory",
      "\(gigabytes(machine.memoryBytes)), \(gigabytes(machine.availableBytes)) free; /dev/shm "
        + "\(gigabytes(machine.sharedBytes)), \(gigabytes(machine.freeSharedBytes)) free")
    for (index, rank) in ranks.enumerated() {
      line(
        index == 0 ? "ranks" : "",
        "rank \(rank.rank): \(counted(rank.threads, "thread")) on "
          + "\(rank.cpus.count == 1 ? "CPU" : "CPUs") \(listText(rank.cpus))")
    }
    let types = ceilings.products.contains { $0.type == "bf16" } ? "f32 and bf16" : "f32"
    line("products", "\(ceilings.kernels), \(types)")
    lines += [""] + speedLines + [""]
    if troubles.isEmpty { lines.append("  nothing is wrong") }
    for trouble in troubles {
      lines.append("  wrong: \(trouble.wrong)")
      lines.append("   mend: \(trouble.mend)")
    }
    lines.append("  \(saved)")
    return lines.joined(separator: "\n")
  }

  private var speedLines: [String] {
    let counts = Set(ceilings.products.map(\.threads)).sorted()
    // The last column is the median of all threads' rounds, those before it are of the best ones.
    func values(_ rate: (Int) -> MeasuredRate?) -> [Double?] {
      counts.map { rate($0)?.best } + [counts.last.flatMap { rate($0)?.typical }]
    }
    func cells(_ name: String, _ values: [Double?], _ unit: String) -> String {
      "  " + name.padding(toLength: 42, withPad: " ", startingAt: 0)
        + values.map { value in
          value.map { String(format: "%11.1f", $0 / 1e9) } ?? String(repeating: " ", count: 11)
        }.joined() + "  " + unit
    }
    var lines = [
      "  " + "speed of".padding(toLength: 42, withPad: " ", startingAt: 0)
        + counts.map { count in
          let text = counted(count, "thread")
          return String(repeating: " ", count: max(0, 11 - text.count)) + text
        }.joined() + "    typical"
    ]
    for product in ceilings.products where product.threads == ceilings.threads {
      let name =
        "\(product.type) \(product.kind.rawValue) \(product.rows) × \(product.inner) → "
        + "\(product.columns)"
      let values = values { count in
        ceilings.products.first {
          $0.type == product.type && $0.kind == product.kind && $0.rows == product.rows
            && $0.columns == product.columns && $0.inner == product.inner && $0.threads == count
        }?.rate
      }
      lines.append(cells(name, values, "GFLOP/s"))
    }
    for access in MemoryAccess.allCases {
      let values = values { count in
        ceilings.accesses.first { $0.access == access && $0.threads == count }?.rate
      }
      lines.append(cells("memory \(access.rawValue)", values, "GB/s"))
    }
    if let rate = ceilings.sumRate {
      let padding = [Double?](repeating: nil, count: counts.count - 1)
      lines.append(
        cells("ordered sum of the ranks' gradients", padding + [rate, nil], "GB/s"))
    }
    return lines
  }

  /// For a program.
  var json: JSON {
    [
      "host": .string(machine.host), "cpu": .string(machine.cpu),
      "flags": .array(machine.flags.map { .string($0) }),
      "cpus": .integer(Int64(machine.cpuCount)), "cores": .integer(Int64(machine.cores.count)),
      "numa_domains": .integer(Int64(machine.domains.count)),
      "memory_bytes": .number(machine.memoryBytes),
      "available_bytes": .number(machine.availableBytes),
      "shared_memory_bytes": .number(machine.sharedBytes),
      "free_shared_memory_bytes": .number(machine.freeSharedBytes),
      "cpu_quota": machine.quota.map { .number($0) } ?? .null,
      "busy_cpus": .number(machine.busyCPUs), "ranks": .array(ranks.map(\.json)),
      "ceilings": ceilings.json,
      "troubles": .array(
        troubles.map { ["wrong": .string($0.wrong), "mend": .string($0.mend)] }),
      "saved": .string(saved),
    ]
  }
}

/// A number with its noun.
func counted(_ count: Int, _ noun: String) -> String {
  "\(count) \(noun)\(count == 1 ? "" : "s")"
}
