import Checkpoint
import Comm
import Foundation
import Glibc
import JSONText
import Tensor

/// What the numbers of this process depend on to their last bit, beside its input: Sail promises equal
/// bits for the same build on the same type of CPU (docs/numerics.md).
///
/// - Parameter kernels: the kernels of the matrix products.
/// - Returns: one line.
/// - Throws: `CheckpointError` if the program cannot be read.
func arithmeticDescription(kernels: String) throws(CheckpointError) -> String {
  let environment = ProcessInfo.processInfo.environment
  let settings = ["DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE"]
    .compactMap { name in environment[name].map { "\(name)=\($0)" } }
  return
    ([
      kernels, "sail \(sailVersion) \(try digest(ofFile: "/proc/self/exe"))", Tensor.libraryVersion,
      mathLibraryVersion, processorDescription,
    ] + settings).joined(separator: "; ")
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

extension RunSources {
  /// The reference cache that the run file asks for; collective.
  ///
  /// - Parameters:
  ///   - digests: of the run's files, on rank 0.
  ///   - precision: of the products, which may be another than the asked one.
  ///   - compute: threads and products of this rank.
  ///   - communicator: all ranks.
  /// - Returns: the cache on rank 0, nil on others or if none is asked for.
  /// - Throws: `ConfigurationError` if its folder cannot be used.
  func referenceCache(
    digests: [(file: String, digest: String)], precision: Precision, compute: Compute,
    communicator: borrowing Communicator
  ) throws -> ReferenceCache? {
    guard case .folder(let folder) = configuration.referenceCache else { return nil }
    let own = try communicator.agree { try arithmeticDescription(kernels: compute.kernelName) }
    let all = try communicator.allGather(bytes: Array(own.utf8))
    let isLeader = communicator.rank == 0
    return try communicator.agree {
      guard isLeader else { return nil }
      let identity = referenceIdentity(
        digests: digests, arithmetic: all.map { String(decoding: $0, as: UTF8.self) },
        precision: precision, areRowsIndependent: compute.isInvariant)
      return try ReferenceCache(
        folder: folder, identity: identity, areRowsIndependent: compute.isInvariant)
    }
  }

  /// What the reference's log-probabilities depend on beside the rows.
  ///
  /// - Parameters:
  ///   - digests: of the run's files, as ``inputDigests(of:)`` gives them.
  ///   - arithmetic: ``arithmeticDescription(kernels:)`` of every rank.
  ///   - precision: of the products.
  ///   - areRowsIndependent: whether the kernels' rows don't depend on each other.
  /// - Returns: an object whose text names the reference.
  private func referenceIdentity(
    digests: [(file: String, digest: String)], arithmetic: [String], precision: Precision,
    areRowsIndependent: Bool
  ) -> JSON {
    let model = reference ?? model
    // Names without folders: a copy elsewhere is the same reference.
    let contents = files(of: model).map { file -> JSON in
      .array([
        .string(PathParts(file).name),
        .string(digests.first { $0.file == file }?.digest ?? ""),
      ])
    }
    var seed = JSON.null
    if case .random(_, let number) = model.weightSource { seed = .string("\(number)") }
    return [
      "files": .array(contents), "seed": seed,
      "precision": .string(precision.rawValue),
      "rows_independent": .boolean(areRowsIndependent),
      "arithmetic": .array(Set(arithmetic).sorted().map { .string($0) }),
    ]
  }
}
