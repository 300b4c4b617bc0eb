import CMPI

extension NodeMemory {
  /// Makes every rank's slice of a node array visible on all nodes; collective.
  ///
  /// Each rank has written its own slice of the node's copy; afterwards every copy holds all slices.
  /// What lies in no slice stays as each node has it.
  /// - Parameters:
  ///   - index: an array of ``Kind/perNode``.
  ///   - slices: the part of each rank, in rank order; ascending, without overlap.
  /// - Throws: ``CommError`` for slices that do not fit the array; ``AgreedFailure`` when the ranks were
  ///   called with different ones.
  public func publish(array index: Int, slices: [Range<Int>]) throws {
    let array = try checked(index, kind: .perNode, slices: slices, call: "publish")
    try synchronize()
    try session.expectSame(
      [1, index, array.count] + bounds(slices),
      "publish: the ranks were called with different slices")
    try synchronize()
    guard session.nodeCount > 1 else { return }

    if let leaders = session.leaders {
      let floats = own(index)
      for (node, range) in runs(slices) {
        let part = UnsafeMutableRawBufferPointer(floats.extracting(range))
        try session.broadcast(part, from: node, in: leaders)
      }
    }
    try settle()
  }

  /// The slices with their node, neighbours of one node that touch joined into one.
  private func runs(_ slices: [Range<Int>]) -> [(node: Int, range: Range<Int>)] {
    var joined: [(node: Int, range: Range<Int>)] = []
    for (rank, slice) in slices.enumerated() where !slice.isEmpty {
      let node = session.nodeOfRank[rank]
      if let last = joined.last, last.node == node, last.range.upperBound == slice.lowerBound {
        joined[joined.count - 1].range = last.range.lowerBound..<slice.upperBound
      } else {
        joined.append((node, slice))
      }
    }
    return joined
  }
}
