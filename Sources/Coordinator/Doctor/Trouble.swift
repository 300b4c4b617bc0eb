import Foundation

/// Something that is wrong with a node, or with how ranks were started on it.
struct Trouble: Equatable {
  /// What is wrong, in one sentence.
  var wrong: String
  /// How to mend it, in one sentence.
  var mend: String
  /// Whether speeds measured under it are not the machine's.
  var spoilsSpeeds = false
}

/// What is wrong with a node and how ranks were started on it, before anything is measured.
///
/// - Parameters:
///   - machine: the node.
///   - ranks: the ranks on it.
///   - hasFastKernels: whether products run on oneDNN's `brg` kernels.
/// - Returns: what is wrong, the start of the ranks first.
func troubles(of machine: Machine, ranks: [RankPlace], hasFastKernels: Bool) -> [Trouble] {
  bindingTroubles(machine, ranks) + machineTroubles(machine, ranks, hasFastKernels: hasFastKernels)
}

private func bindingTroubles(_ machine: Machine, _ ranks: [RankPlace]) -> [Trouble] {
  var found: [Trouble] = []
  let used = Set(ranks.flatMap(\.cpus))
  let allowed = Set(ranks.flatMap(\.launcherCPUs))
  let threads = ranks.reduce(0) { $0 + $1.threads }
  let perRank = max(1, allowed.count / max(1, ranks.count))
  let startFreely = "mpirun --bind-to none"
  if used.count < allowed.count {
    found.append(
      Trouble(
        wrong: "the ranks on \(machine.host) may use \(used.count) of \(allowed.count) CPUs "
          + "(\(listText(Array(used)))): mpirun bound them, by default to a core each",
        mend: "start with `\(startFreely)`, or `--map-by slot:PE=\(perRank)` for \(perRank) "
          + (perRank == 1 ? "thread" : "threads") + " a rank", spoilsSpeeds: true))
  }
  for rank in ranks where rank.threads > rank.cpus.count && !rank.cpus.isEmpty {
    found.append(
      Trouble(
        wrong: "rank \(rank.rank) runs \(rank.threads) threads on \(rank.cpus.count) "
          + (rank.cpus.count == 1 ? "CPU" : "CPUs") + ": they wait for each other",
        mend: "set threads to auto or to at most \(rank.cpus.count)", spoilsSpeeds: true))
  }
  if threads > used.count, !used.isEmpty,
    !ranks.contains(where: { $0.threads > $0.cpus.count })
  {
    found.append(
      Trouble(
        wrong: "\(ranks.count) ranks with \(threads) threads share \(used.count) "
          + (used.count == 1 ? "CPU" : "CPUs") + " of \(machine.host)",
        mend: "start at most \(used.count) ranks on this node, bind them to CPUs of their own "
          + "(`--map-by slot:PE=N`), or set threads to \(max(1, used.count / ranks.count))",
        spoilsSpeeds: true))
  }
  let coreCount = machine.cores.filter { !used.isDisjoint(with: $0) }.count
  if threads > coreCount, threads <= used.count, coreCount > 0 {
    found.append(
      Trouble(
        wrong: "\(threads) threads run on \(coreCount) cores: the CPUs are hyper-threads, which "
          + "share the units that do products",
        mend: "set threads to \(max(1, coreCount / max(1, ranks.count))), one for each core"))
  }
  if let quota = machine.quota, Double(threads) > quota.rounded(.up) {
    found.append(
      Trouble(
        wrong: "the container may use the time of \(quota) CPUs, for \(threads) threads",
        mend: "give the container more CPUs, or set threads so that all ranks together have at "
          + "most \(max(1, Int(quota)))", spoilsSpeeds: true))
  }
  return found
}

private func machineTroubles(
  _ machine: Machine, _ ranks: [RankPlace], hasFastKernels: Bool
) -> [Trouble] {
  var found: [Trouble] = []
  if machine.flags.contains("avx512f"), !hasFastKernels {
    found.append(
      Trouble(
        wrong: "products run on OpenBLAS though this CPU has AVX-512: decoding is slow and "
          + "there is no bf16",
        mend: "install oneDNN (libdnnl-dev) and build with default traits; unset "
          + "ONEDNN_MAX_CPU_ISA if it is set"))
  }
  if ranks.count > 1, machine.freeSharedBytes < machine.memoryBytes / 2 {
    found.append(
      Trouble(
        wrong: "/dev/shm of \(machine.host) has \(gigabytes(machine.freeSharedBytes)) free, and "
          + "weights and gradients of the ranks of a node lie there",
        mend: "make it larger (in a container `--shm-size`, else `mount -o remount,size=…`), "
          + "remove what lies in it, or start one rank a node"))
  }
  if machine.availableBytes < machine.memoryBytes / 2 {
    found.append(
      Trouble(
        wrong: "only \(gigabytes(machine.availableBytes)) of \(gigabytes(machine.memoryBytes)) of "
          + "memory are free on \(machine.host)",
        mend: "end the programs that use it, or plan with `sail plan --memory`"))
  }
  if machine.busyCPUs > 0.2 * Double(max(1, machine.cpuCount)) {
    found.append(
      Trouble(
        wrong: String(
          format: "%.1f of %d CPUs of %@ were busy before this began, so the speeds are too low",
          machine.busyCPUs, machine.cpuCount, machine.host),
        mend: "repeat `sail doctor` when nothing else runs", spoilsSpeeds: true))
  }
  if machine.domains.count > 1, ranks.count == 1 {
    found.append(
      Trouble(
        wrong: "one rank spans the \(machine.domains.count) NUMA domains of \(machine.host): "
          + "much of its memory is far",
        mend: "start one rank a domain: `mpirun --map-by ppr:1:numa:PE=N`"))
  }
  return found
}
