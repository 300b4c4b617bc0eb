import Comm
import JSONText

extension RunSources {
  /// The reference cache that the run file asks for; collective.
  ///
  /// - Parameters:
  ///   - digests: of the run's files, on rank 0.
  ///   - arithmetic: how the ranks compute.
  ///   - communicator: all ranks.
  /// - Returns: the cache on rank 0, nil on others or if none is asked for.
  /// - Throws: `ConfigurationError` if its folder cannot be used.
  func referenceCache(
    digests: [(file: String, digest: String)], arithmetic: AgreedArithmetic,
    communicator: borrowing Communicator
  ) throws -> ReferenceCache? {
    guard case .folder(let folder) = configuration.referenceCache else { return nil }
    let isLeader = communicator.rank == 0
    return try communicator.agree {
      guard isLeader else { return nil }
      let areRowsIndependent = arithmetic.compute.isInvariant
      let identity = referenceIdentity(
        digests: digests, arithmetic: arithmetic, areRowsIndependent: areRowsIndependent)
      return try ReferenceCache(
        folder: folder, identity: identity, areRowsIndependent: areRowsIndependent)
    }
  }

  /// What the reference's log-probabilities depend on beside the rows.
  ///
  /// - Parameters:
  ///   - digests: of the run's files, as ``inputDigests(of:)`` gives them.
  ///   - arithmetic: how the ranks compute.
  ///   - areRowsIndependent: whether the kernels' rows don't depend on each other.
  /// - Returns: an object whose text names the reference.
  private func referenceIdentity(
    digests: [(file: String, digest: String)], arithmetic: AgreedArithmetic,
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
      "precision": .string(arithmetic.precision.rawValue),
      "rows_independent": .boolean(areRowsIndependent),
      "arithmetic": .array(arithmetic.kinds.map { .string($0.text) }),
    ]
  }
}
