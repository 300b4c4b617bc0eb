import Comm

/// Gathers and broadcasts of lengths that differ, do not divide, or are zero.
func checkCollectives(_ world: borrowing Communicator) throws {
  try world.barrier()
  let lengthRules: [(Int) -> Int] = [
    { $0 * 3 + 1 }, { $0 % 2 }, { _ in 0 }, { $0 == 0 ? 1000 : 0 }, { 257 - $0 }, { _ in 5 },
  ]
  for (rule, length) in lengthRules.enumerated() {
    let bytes = try world.allGather(bytes: pattern(world.rank, length(world.rank)))
    try expect(
      bytes == (0..<world.size).map { pattern($0, length($0)) }, "bytes by rule \(rule)")

    let mine = pattern(world.rank, length(world.rank)).map { Double($0) / 3 }
    let doubles = try world.allGather(mine)
    try expect(
      doubles == (0..<world.size).map { pattern($0, length($0)).map { Double($0) / 3 } },
      "doubles by rule \(rule)")
  }
  try expect(
    try world.allGather([Int32(-world.rank)]) == (0..<world.size).map { [Int32(-$0)] }, "numbers")

  for root in 0..<world.size {
    for length in [0, 1, 7, 8, 1000] {
      let own = world.rank == root ? pattern(root, length) : pattern(9, 3)
      try expect(
        try world.broadcast(bytes: own, from: root) == pattern(root, length),
        "broadcast of \(length) from \(root)")
    }
  }
  try expectRefusal("expected a root from 0 to \(world.size - 1), found \(world.size)") {
    _ = try world.broadcast(bytes: [], from: world.size)
  }
  try checkPlaces(world)
}

/// The places of the ranks are those of the nodes.
private func checkPlaces(_ world: borrowing Communicator) throws {
  let nodes = world.nodeOfRank
  try expect(nodes.count == world.size, "a node for each rank")
  try expect(Set(nodes) == Set(0..<world.nodeCount), "nodes from 0 without gap")
  let companions = (0..<world.size).filter { nodes[$0] == nodes[world.rank] }
  try expect(companions.count == world.nodeSize, "ranks on this node")
  try expect(companions.firstIndex(of: world.rank) == world.nodeRank, "place on this node")
  let firsts = (0..<world.nodeCount).compactMap { nodes.firstIndex(of: $0) }
  try expect(firsts == firsts.sorted(), "nodes in the order of their first ranks")
}

/// Bytes that tell whose they are.
private func pattern(_ rank: Int, _ length: Int) -> [UInt8] {
  (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ rank &* 101 &+ 7) }
}

/// Throws unless `body` throws a ``CommError`` whose sentence contains `part`.
func expectRefusal(_ part: String, _ body: () throws -> Void) throws {
  do {
    try body()
  } catch let error as CommError {
    try expect(
      error.description.contains(part), "a refusal with '\(part)', found '\(error.description)'")
    return
  }
  throw CheckFailure(description: "check failed: no refusal with '\(part)'")
}
