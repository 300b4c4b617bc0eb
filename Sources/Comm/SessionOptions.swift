/// How ranks are dealt to the pretended nodes of ``SessionOptions/ranksPerNode``.
public enum RankDealing: Sendable {
  /// The first ranks to the first node, as `mpirun --map-by slot` does.
  case blocks
  /// One rank to each node in turn, as `mpirun --map-by node` does.
  case roundRobin
}

/// What an MPI session needs to know from outside.
public struct SessionOptions: Sendable {
  /// The environment of the process, read before `MPI_Init`.
  public var environment: [String: String]
  /// Cuts each machine into pretended nodes of this many ranks; nil takes machines as they are.
  public var ranksPerNode: Int?
  /// How ranks are dealt to pretended nodes.
  public var dealing: RankDealing
  /// The largest number of bytes in one collective message; more goes in several.
  public var largestMessageBytes: Int
  /// The room for gradients received from other nodes in an ordered sum.
  public var stagingBytes: Int

  /// Options with everything but the environment at its default.
  public init(
    environment: [String: String], ranksPerNode: Int? = nil, dealing: RankDealing = .blocks,
    largestMessageBytes: Int = 1 << 30, stagingBytes: Int = 64 << 20
  ) {
    self.environment = environment
    self.ranksPerNode = ranksPerNode
    self.dealing = dealing
    self.largestMessageBytes = largestMessageBytes
    self.stagingBytes = stagingBytes
  }

  func validate() throws(CommError) {
    if let ranksPerNode, ranksPerNode < 1 || ranksPerNode > Int(Int32.max) {
      throw CommError("ranksPerNode: expected 1 or more, found \(ranksPerNode)")
    }
    guard 1...Int(Int32.max) ~= largestMessageBytes else {
      throw CommError(
        "largestMessageBytes: expected 1 to \(Int32.max), found \(largestMessageBytes)")
    }
    guard stagingBytes >= 1 else {
      throw CommError("stagingBytes: expected 1 or more, found \(stagingBytes)")
    }
  }
}
