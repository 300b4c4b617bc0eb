import Foundation
import Glibc

/// What one machine is, as its kernel says; what cannot be read is nil or empty.
struct Machine: Equatable {
  /// Name of the host.
  var host = ""
  /// Name of the CPU.
  var cpu = ""
  /// Its instruction sets that matter here, of those in ``knownFlags``.
  var flags: [String] = []
  /// CPUs of each core that are online, a hyper-threaded core having several.
  var cores: [[Int]] = []
  /// CPUs of each NUMA domain.
  var domains: [[Int]] = []
  /// Bytes of memory, of the container if it is limited.
  var memoryBytes = 0.0
  /// Bytes that programs can still have.
  var availableBytes = 0.0
  /// Bytes of shared memory (/dev/shm), whole and free.
  var sharedBytes = 0.0
  var freeSharedBytes = 0.0
  /// Bytes of the largest cache.
  var cacheBytes = 0.0
  /// CPUs' worth of time that the container may use, nil if it is not limited.
  var quota: Double?
  /// CPUs that were busy in a moment in which the ranks slept.
  var busyCPUs = 0.0

  /// Instruction sets that decide which kernels run, as /proc/cpuinfo names them.
  static let knownFlags = [
    "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16",
  ]

  /// Number of CPUs that are online.
  var cpuCount: Int { cores.reduce(0) { $0 + $1.count } }
}

extension Machine {
  /// This machine's names.
  static var identity: (host: String, cpu: String) {
    (
      ProcessInfo.processInfo.hostName,
      value(of: "model name", in: kernelText("/proc/cpuinfo")) ?? "unknown CPU"
    )
  }

  /// This machine.
  static var current: Machine {
    var machine = Machine()
    let information = kernelText("/proc/cpuinfo")
    (machine.host, machine.cpu) = identity
    let flags = Set((value(of: "flags", in: information) ?? "").split(separator: " "))
    machine.flags = knownFlags.filter { flags.contains(Substring($0)) }
    let system = "/sys/devices/system"
    for cpu in numberList(kernelText("\(system)/cpu/online")) {
      let folder = "\(system)/cpu/cpu\(cpu)"
      let siblings = numberList(kernelText("\(folder)/topology/thread_siblings_list"))
      if let index = machine.cores.firstIndex(where: { $0.first == siblings.first }),
        !siblings.isEmpty
      {
        machine.cores[index].append(cpu)
      } else {
        machine.cores.append([cpu])
      }
    }
    machine.domains = numberList(kernelText("\(system)/node/online")).map {
      numberList(kernelText("\(system)/node/node\($0)/cpulist"))
    }
    machine.cacheBytes =
      (0..<5).compactMap {
        cacheSize(kernelText("\(system)/cpu/cpu0/cache/index\($0)/size"))
      }.max() ?? 0
    let memory = kernelText("/proc/meminfo")
    machine.memoryBytes = physicalMemoryBytes()
    machine.availableBytes = min(
      kilobytes("MemAvailable", memory) ?? 0, machine.memoryBytes)
    var room = statvfs()
    if statvfs("/dev/shm", &room) == 0 {
      machine.sharedBytes = Double(room.f_blocks) * Double(room.f_frsize)
      machine.freeSharedBytes = Double(room.f_bavail) * Double(room.f_frsize)
    }
    machine.quota = containerQuota
    machine.busyCPUs = busyCPUs(seconds: 0.3)
    return machine
  }

  /// CPUs that are busy on average while this thread sleeps; those that the machine's own host takes
  /// away count too.
  private static func busyCPUs(seconds: Double) -> Double {
    let before = CPUTimes(kernelText("/proc/stat"))
    usleep(UInt32(seconds * 1e6))
    let after = CPUTimes(kernelText("/proc/stat"))
    return after.busyCPUs(since: before)
  }

  /// Bytes of memory that this process's container may have.
  static var containerLimit: Double {
    for file in ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"] {
      if let limit = Double(kernelText(file).filter { !$0.isWhitespace }) { return limit }
    }
    return .infinity
  }

  private static var containerQuota: Double? {
    let words = kernelText("/sys/fs/cgroup/cpu.max").split(whereSeparator: \.isWhitespace)
    let folder = "/sys/fs/cgroup/cpu/cpu.cfs_"
    let pair =
      words.count == 2
      ? words.map(String.init)
      : ["quota_us", "period_us"].map { kernelText(folder + $0).filter { !$0.isWhitespace } }
    guard let quota = Double(pair[0]), let period = Double(pair[1]), quota > 0, period > 0 else {
      return nil
    }
    return quota / period
  }
}

/// Clock ticks of all CPUs together, from the first line of /proc/stat.
struct CPUTimes {
  private var all = 0.0
  private var idle = 0.0
  private var cpuCount = 0

  init(_ text: String) {
    let lines = text.split(separator: "\n").filter { $0.hasPrefix("cpu") }
    guard let first = lines.first else { return }
    // user nice system idle iowait irq softirq steal; what follows is part of user and nice.
    let ticks = first.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
    guard ticks.count == 8 else { return }
    all = ticks.reduce(0, +)
    idle = ticks[3] + ticks[4]
    cpuCount = lines.count - 1
  }

  /// CPUs that were busy since an earlier moment.
  func busyCPUs(since earlier: CPUTimes) -> Double {
    let passed = all - earlier.all
    guard passed > 0 else { return 0 }
    return Double(cpuCount) * (1 - (idle - earlier.idle) / passed)
  }
}

/// A small text file of the kernel's; empty if it cannot be read.
func kernelText(_ path: String) -> String {
  (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
}

/// What follows a name and a colon in the first line of that name.
func value(of name: String, in text: String) -> String? {
  for line in text.split(separator: "\n") {
    let parts = line.split(separator: ":", maxSplits: 1)
    guard parts.count == 2, parts[0].trimmingCharacters(in: .whitespaces) == name else { continue }
    return parts[1].trimmingCharacters(in: .whitespaces)
  }
  return nil
}

/// Bytes of a line of /proc/meminfo.
func kilobytes(_ name: String, _ text: String) -> Double? {
  value(of: name, in: text)?.split(separator: " ").first.flatMap { Double($0) }.map { $0 * 1024 }
}

/// Numbers of a list of the kernel's, such as "0-3,8".
func numberList(_ text: String) -> [Int] {
  text.filter { !$0.isWhitespace }.split(separator: ",").flatMap { part -> [Int] in
    let ends = part.split(separator: "-").compactMap { Int($0) }
    guard let first = ends.first, let last = ends.last, first <= last, last - first < 1 << 16
    else { return [] }
    return Array(first...last)
  }
}

/// A list of numbers as the kernel writes it.
func listText(_ numbers: [Int]) -> String {
  var ranges: [ClosedRange<Int>] = []
  for number in numbers.sorted() {
    if let last = ranges.last, last.upperBound >= number - 1 {
      ranges[ranges.count - 1] = last.lowerBound...max(number, last.upperBound)
    } else {
      ranges.append(number...number)
    }
  }
  return ranges.map { range in
    range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
  }.joined(separator: ",")
}

/// Bytes of a cache's size, such as "2048K".
private func cacheSize(_ text: String) -> Double? {
  let text = text.filter { !$0.isWhitespace }
  return Double(text.dropLast()).map { $0 * (text.hasSuffix("M") ? 1_048_576 : 1024) }
}
