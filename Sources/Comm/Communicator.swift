import CMPI

/// All ranks of the job, seen from this rank.
///
/// Noncopyable, so that it cannot be captured by a task or an escaping closure: MPI is called by the
/// main thread only. Every method is collective: all ranks call it, in the same order.
public struct Communicator: ~Copyable {
  let session: Session

  /// This rank, from 0.
  public var rank: Int { session.rank }
  /// The number of ranks.
  public var size: Int { session.size }
  /// This rank's place among the ranks of its node, from 0.
  public var nodeRank: Int { session.nodeRank }
  /// The number of ranks on this node.
  public var nodeSize: Int { session.nodeSize }
  /// The number of nodes.
  public var nodeCount: Int { session.nodeCount }
  /// The node of each rank, counted from 0 in the order of their first ranks.
  public var nodeOfRank: [Int] { session.nodeOfRank }

  /// Returns when every rank has called it.
  public func barrier() throws(CommError) {
    try check(MPI_Barrier(session.world), "MPI_Barrier")
  }

  /// The bytes of every rank, in rank order; their numbers may differ.
  public func allGather(bytes: [UInt8]) throws -> [[UInt8]] {
    try bytes.withUnsafeBytes { try session.allGather($0) }.map { Array($0) }
  }

  /// The values of every rank, in rank order; their numbers may differ, their type may not.
  public func allGather<T: BitwiseCopyable>(_ values: [T]) throws -> [[T]] {
    let all = try values.withUnsafeBytes { try session.allGather($0) }
    return try all.enumerated().map { rank, bytes in
      try bytes.withUnsafeBytes { raw in
        guard raw.count % MemoryLayout<T>.stride == 0 else {
          throw CommError(
            "allGather: rank \(rank) sent \(raw.count) bytes where values of "
              + "\(MemoryLayout<T>.stride) bytes were expected: all ranks must gather one type")
        }
        return [T](unsafeUninitializedCapacity: raw.count / MemoryLayout<T>.stride) {
          UnsafeMutableRawBufferPointer($0).copyMemory(from: raw)
          $1 = raw.count / MemoryLayout<T>.stride
        }
      }
    }
  }

  /// The bytes that `root` gave, on every rank; what other ranks gave is ignored.
  public func broadcast(bytes: [UInt8], from root: Int) throws -> [UInt8] {
    guard 0..<size ~= root else {
      throw CommError("broadcast: expected a root from 0 to \(size - 1), found \(root)")
    }
    return try session.broadcast(rank == root ? bytes : [], from: root)
  }

  /// Runs `body` on every rank, and lets all ranks leave together when it throws on any.
  ///
  /// For phases that every rank runs alike, such as reading the configuration: the message is printed
  /// once, all ranks end with the same exit code, and nothing is aborted. `body` may not communicate,
  /// except by a nested `agree` that all ranks reach.
  /// - Parameter body: this rank's part.
  /// - Returns: this rank's value, when no rank failed.
  /// - Throws: ``AgreedFailure`` on every rank, with the message and code of the lowest failing rank.
  public func agree<R>(_ body: () throws -> R) throws -> R {
    let outcome = Result { try body() }
    let failing: Int
    let failed: (any Error)?
    switch outcome {
    case .success: (failing, failed) = (size, nil)
    case .failure(let error): (failing, failed) = (rank, error)
    }
    let lowest = try session.minimum(failing)
    guard lowest < size else { return try outcome.get() }

    // The sentence travels as: code, origin, text.
    var packed: [UInt8] = []
    if lowest == rank, let failed {
      let failure = session.agreedFailure(failed, rank: rank)
      for number in [Int64(failure.code), Int64(failure.rank)] {
        withUnsafeBytes(of: number.littleEndian) { packed.append(contentsOf: $0) }
      }
      packed.append(contentsOf: failure.message.utf8)
    }
    packed = try session.broadcast(packed, from: lowest)
    guard packed.count >= 16 else { throw CommError("agree: the failure of rank \(lowest) is cut") }
    let numbers = packed.withUnsafeBytes { raw in
      [0, 8].map { Int64(littleEndian: raw.loadUnaligned(fromByteOffset: $0, as: Int64.self)) }
    }
    throw AgreedFailure(
      message: String(decoding: packed[16...], as: UTF8.self),
      code: Int32(truncatingIfNeeded: numbers[0]), rank: Int(numbers[1]), underlying: failed)
  }
}

extension Session {
  /// An error as the failure that all ranks throw; one that is agreed already stays as it is.
  func agreedFailure(_ error: any Error, rank origin: Int) -> AgreedFailure {
    if let agreed = error as? AgreedFailure { return agreed }
    let (message, code) = describe(error)
    return AgreedFailure(
      message: message, code: code, rank: origin, underlying: origin == rank ? error : nil)
  }
}
