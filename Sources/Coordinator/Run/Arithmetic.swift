import Checkpoint
import Comm
import Foundation
import Glibc
import JSONText
import Tensor

/// What the numbers of a process depend on to their last bit, beside its input: Sail promises equal
/// bits for the same build on the same type of CPU (docs/numerics.md).
struct Arithmetic: Hashable {
  /// Kernels of the matrix products.
  var kernels: String
  /// Version and digest of the program.
  var build: String
  /// Libraries that compute: oneDNN, OpenBLAS, glibc, whose logarithms and powers are used.
  var libraries: String
  /// Model of the first CPU and its vector instructions.
  var processor: String
  /// Variables of the environment by which libraries choose kernels.
  var environment: String

  /// What this process computes with.
  ///
  /// - Parameter kernels: the kernels of its products.
  /// - Returns: all of it.
  /// - Throws: `CheckpointError` if the program cannot be read.
  static func ofThisProcess(kernels: String) throws(CheckpointError) -> Arithmetic {
    let variables = ProcessInfo.processInfo.environment
    let settings = ["DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE"]
      .compactMap { name in variables[name].map { "\(name)=\($0)" } }
    return Arithmetic(
      kernels: kernels, build: "sail \(sailVersion) \(try digest(ofFile: "/proc/self/exe"))",
      libraries: "\(Tensor.libraryVersion); \(mathLibraryVersion)",
      processor: processorDescription, environment: settings.joined(separator: " "))
  }

  /// One line.
  var text: String {
    [kernels, build, libraries, processor, environment].filter { !$0.isEmpty }
      .joined(separator: "; ")
  }

  /// In what two sets of kinds differ: "kernels (a; b), types of CPU"; empty if they don't.
  static func differences(_ first: [Arithmetic], _ second: [Arithmetic]) -> String {
    let aspects: [(name: String, value: (Arithmetic) -> String, isShort: Bool)] = [
      ("kernels", \.kernels, true), ("builds of sail", \.build, false),
      ("libraries", \.libraries, true), ("types of CPU", \.processor, false),
      ("environments", { $0.environment.isEmpty ? "none" : $0.environment }, true),
    ]
    let differing = aspects.compactMap { aspect -> String? in
      func values(_ kinds: [Arithmetic]) -> [String] { Set(kinds.map(aspect.value)).sorted() }
      let (old, new) = (values(first), values(second))
      if old == new { return nil }
      guard aspect.isShort else { return aspect.name }
      let (oldText, newText) = (old.joined(separator: " and "), new.joined(separator: " and "))
      return "\(aspect.name) (\(oldText); \(newText))"
    }
    if differing.isEmpty, Set(first) != Set(second) {
      return "combinations of kernels, builds, libraries and types of CPU"
    }
    return differing.joined(separator: ", ")
  }
}

extension Arithmetic {
  /// For state.json and messages between ranks.
  var json: JSON {
    [
      "kernels": .string(kernels), "build": .string(build), "libraries": .string(libraries),
      "processor": .string(processor), "environment": .string(environment),
    ]
  }

  /// Reads what `json` gives; nil if it is something else.
  init?(_ json: JSON) {
    guard let kernels = json["kernels"]?.string, let build = json["build"]?.string,
      let libraries = json["libraries"]?.string, let processor = json["processor"]?.string,
      let environment = json["environment"]?.string
    else { return nil }
    self.init(
      kernels: kernels, build: build, libraries: libraries, processor: processor,
      environment: environment)
  }
}

/// How the ranks compute.
struct AgreedArithmetic {
  /// Threads and products of this rank.
  let compute: Compute
  /// The number type of products that all ranks can compute in: the asked one, or f32.
  let precision: Precision
  /// What the numbers depend on, of all ranks, each kind once, in an order that does not depend on them.
  let kinds: [Arithmetic]
  /// What the user should know of it: sentences, the same on every rank.
  let notes: [String]

  /// Starts this rank's threads and asks the other ranks; collective.
  ///
  /// - Parameters:
  ///   - threads: threads of a rank, as asked.
  ///   - asked: the number type of products, as asked.
  ///   - communicator: all ranks.
  /// - Throws: `ConfigurationError` for too many threads or an unknown `SAIL_TILES`, errors of MPI.
  init(
    threads: RunConfiguration.ThreadCount, precision asked: Precision,
    communicator: borrowing Communicator
  ) throws {
    let threads = try threadCount(threads, communicator: communicator)
    let compute = Compute(threadCount: threads)
    let own = try communicator.agree {
      try checkTileSetting()
      return try Arithmetic.ofThisProcess(kernels: compute.kernelName)
    }
    let ofRanks = try communicator.allGather(bytes: Array(own.json.text.utf8))
      .compactMap { Arithmetic(try JSON(parsing: $0)) }
    let able = try communicator.allGather([compute.multipliesBF16 ? 1 : 0]).joined()
    self.compute = compute
    kinds = Set(ofRanks).sorted { $0.text < $1.text }
    precision = able.allSatisfy { $0 == 1 } ? asked : .f32
    var notes: [String] = []
    if precision != asked {
      notes.append(
        "precision: bf16 was asked for, but not every CPU here multiplies bf16 (AMX, or AVX-512 BF16 "
          + "with oneDNN): computing in f32")
    }
    if let other = ofRanks.firstIndex(where: { $0 != ofRanks[0] }) {
      notes.append(
        "ranks 0 and \(other) have other \(Arithmetic.differences([ofRanks[0]], [ofRanks[other]])): "
          + "results depend on which rank computes what, and no other layout gives the same; use "
          + "nodes of one type with one environment")
    }
    self.notes = notes
  }

  /// The kernels' names.
  var kernelNames: String { Set(kinds.map(\.kernels)).sorted().joined(separator: " | ") }

  /// A sentence where a run goes on with another arithmetic than it had; nil if the same.
  func changeNote(since earlier: [Arithmetic]) -> String? {
    // Checkpoints of older versions don't say.
    if earlier.isEmpty || earlier == kinds { return nil }
    return
      "the checkpoint was written with other \(Arithmetic.differences(earlier, kinds)): the run "
      + "goes on, but not with the bits that it would have had"
  }
}

/// Refuses a value of `SAIL_TILES` that means nothing.
func checkTileSetting() throws(ConfigurationError) {
  guard let value = Compute.unknownTileSetting else { return }
  throw ConfigurationError(
    "the environment's SAIL_TILES must be on or off, found \(JSON.string(value).text); unset it to "
      + "use the tiles where the CPU has them")
}

/// Threads of this rank: as asked, else its share of the CPUs that it may use.
///
/// Ranks that mpirun bound have CPUs of their own; unbound ranks of a node share all. Far more threads
/// than CPUs are refused: they only wait for each other.
func threadCount(
  _ asked: RunConfiguration.ThreadCount, communicator: borrowing Communicator
) throws -> Int {
  switch asked {
  case .count(let count):
    let limit = 4 * Compute.onlineCPUCount
    try communicator.agree {
      guard count <= limit else {
        throw ConfigurationError(
          "threads must be at most \(limit), four for each CPU of this machine, found \(count)")
      }
    }
    return count
  case .auto:
    let available = Compute.availableCPUCount
    let isShared = communicator.nodeSize > 1 && available >= Compute.onlineCPUCount
    return max(1, isShared ? available / communicator.nodeSize : available)
  }
}

/// "glibc 2.36", whose logarithms and powers are used.
private var mathLibraryVersion: String {
  var buffer = [CChar](repeating: 0, count: 64)
  confstr(Int32(_CS_GNU_LIBC_VERSION), &buffer, buffer.count)
  return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Model of the first CPU and its vector instructions.
private var processorDescription: String {
  let bytes = FileManager.default.contents(atPath: "/proc/cpuinfo") ?? Data()
  var parts: [String] = []
  for line in String(decoding: bytes, as: UTF8.self).split(
    separator: "\n", omittingEmptySubsequences: false)
  {
    // The description of the next CPU.
    if line.isEmpty { break }
    let halves = line.split(separator: ":", maxSplits: 1).map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    guard halves.count == 2 else { continue }
    switch halves[0] {
    case "vendor_id", "cpu family", "model", "model name": parts.append(halves[1])
    case "flags":
      parts += halves[1].split(separator: " ").map(String.init)
        .filter { flag in ["avx", "amx", "fma"].contains(where: flag.hasPrefix) }
    default: break
    }
  }
  return parts.joined(separator: " ")
}
