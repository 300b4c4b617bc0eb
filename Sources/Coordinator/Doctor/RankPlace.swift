import Foundation
import Glibc
import JSONText

/// Where a rank runs and with how many threads.
struct RankPlace: Equatable {
  var rank: Int
  /// The node, counted from 0.
  var node: Int
  var host: String
  /// CPUs that it may use: its affinity mask.
  var cpus: [Int]
  /// CPUs that its launcher may use, from which it was bound.
  var launcherCPUs: [Int]
  /// Threads that compute.
  var threads: Int
}

extension RankPlace {
  /// This process's place.
  init(rank: Int, node: Int, host: String, threads: Int) {
    func mask(_ process: String) -> [Int] {
      numberList(value(of: "Cpus_allowed_list", in: kernelText("/proc/\(process)/status")) ?? "")
    }
    let cpus = mask("self")
    self.init(
      rank: rank, node: node, host: host, cpus: cpus,
      launcherCPUs: Array(Set(cpus + mask("\(getppid())"))).sorted(), threads: threads)
  }

  /// A place from what ``json`` says; nil if it is none.
  init?(_ json: JSON) {
    guard let rank = json["rank"]?.integer, let node = json["node"]?.integer,
      let host = json["host"]?.string, let cpus = json["cpus"]?.string,
      let launcher = json["launcher_cpus"]?.string, let threads = json["threads"]?.integer
    else { return nil }
    self.init(
      rank: rank, node: node, host: host, cpus: numberList(cpus),
      launcherCPUs: numberList(launcher), threads: threads)
  }

  var json: JSON {
    [
      "rank": .integer(Int64(rank)), "node": .integer(Int64(node)), "host": .string(host),
      "cpus": .string(listText(cpus)), "launcher_cpus": .string(listText(launcherCPUs)),
      "threads": .integer(Int64(threads)),
    ]
  }
}
