import Comm

/// Alignment, zeros, who sees whose array, and memory asked for again after its release.
func checkArrays(_ world: borrowing Communicator) throws {
  for round in 0..<3 {
    let counts = [13, 1001, 0, 64, 3]
    let memory = try NodeMemory(
      communicator: world,
      arrays: [
        ("odd", counts[0], .perRank), ("shared", counts[1], .perNode),
        ("empty", counts[2], .perRank), ("whole", counts[3], .perRank),
        ("few", counts[4], .perNode),
      ])
    for (index, count) in counts.enumerated() {
      let own = memory.own(index)
      try expect(own.count == count, "count of array \(index)")
      try expect(own.allSatisfy { $0.bitPattern == 0 }, "zeros in array \(index)")
      let address = UInt(bitPattern: own.baseAddress)
      try expect(address % 64 == 0, "array \(index) on a 64-byte boundary, round \(round)")
    }
    try world.barrier()
    for index in [0, 3] { memory.own(index).update(repeating: Float(world.rank + 1 + index)) }
    if world.nodeRank == world.nodeSize - 1 { memory.own(1).update(repeating: 77) }
    // Publishes nothing, but is the fence between writing and reading.
    try memory.publish(array: 4, slices: [Range<Int>](repeating: 0..<0, count: world.size))

    let nodes = world.nodeOfRank
    for (nodeRank, rank) in (0..<world.size).filter({ nodes[$0] == nodes[world.rank] }).enumerated()
    {
      for index in [0, 3] {
        let theirs = memory.neighbour(index, nodeRank: nodeRank)
        try expect(
          theirs.count == counts[index] && theirs.allSatisfy { $0 == Float(rank + 1 + index) },
          "array \(index) of rank \(rank)")
      }
      try expect(
        memory.neighbour(1, nodeRank: nodeRank).allSatisfy { $0 == 77 }, "the node's array")
    }
    try memory.release()
  }
  try expectAgreedRefusal("array huge of \(Int.max) elements is too large to address") {
    _ = try NodeMemory(communicator: world, arrays: [("huge", Int.max, .perRank)])
  }
  try expectAgreedRefusal("array less has -1 elements") {
    _ = try NodeMemory(communicator: world, arrays: [("less", -1, .perRank)])
  }
}

/// Every rank writes its slice; then all see all slices on every node.
func checkPublish(_ world: borrowing Communicator) throws {
  for count in [0, 1, 5, 1000, 5003] {
    let memory = try NodeMemory(
      communicator: world, arrays: [("padding", 3, .perRank), ("weights", count, .perNode)])
    for slices in sliceRules(count, ranks: world.size) {
      for step in 0..<5 {
        let own = slices[world.rank]
        for index in own { memory.own(1)[index] = value(rank: step, index: index) }
        try memory.publish(array: 1, slices: slices)
        let all = memory.own(1)
        for slice in slices {
          for index in slice {
            try expect(
              all[index] == value(rank: step, index: index),
              "element \(index) of \(count) at step \(step) with slices \(slices)")
          }
        }
        try world.barrier()
      }
    }
    try memory.release()
  }
}

/// Calls with lengths, kinds or ranks that do not fit are refused before anything is sent.
func checkLengths(_ world: borrowing Communicator) throws {
  let memory = try NodeMemory(
    communicator: world, arrays: [("gradient", 10, .perRank), ("weights", 10, .perNode)])
  let slices = even(10, over: world.size)
  let ranks = Array(0..<world.size)
  let rank = world.rank
  let own = slices[rank].count
  try expectRefusal("expected an accumulator of \(own) elements") {
    let wrong = UnsafeMutableBufferPointer<Float>.allocate(capacity: own + 1)
    defer { wrong.deallocate() }
    try memory.orderedSum(gradient: 0, slices: slices, contributors: ranks, into: wrong)
  }
  try expectRefusal("expected \(world.size) slices, one a rank, found \(world.size + 1)") {
    try sum(memory, slices: slices + [10..<10], contributors: ranks, rank: rank)
  }
  try expectRefusal("of array gradient of 10 elements, found") {
    try sum(memory, slices: even(11, over: world.size), contributors: ranks, rank: rank)
  }
  try expectRefusal("expected ascending slices of array weights") {
    try memory.publish(array: 1, slices: ranks.map { world.size == 1 ? -1..<0 : 9 - $0..<10 - $0 })
  }
  try expectRefusal("expected different contributors from 0 to \(world.size - 1)") {
    try sum(memory, slices: slices, contributors: [0, 0], rank: rank)
  }
  try expectRefusal("expected different contributors from 0 to \(world.size - 1)") {
    try sum(memory, slices: slices, contributors: [world.size], rank: rank)
  }
  try expectRefusal("expected an array of kind perRank, found weights of kind perNode") {
    try memory.orderedSum(
      gradient: 1, slices: slices, contributors: ranks, into: memory.own(0))
  }
  try expectRefusal("expected an array of kind perNode, found gradient of kind perRank") {
    try memory.publish(array: 0, slices: slices)
  }
  try expectRefusal("expected an array from 0 to 1, found 2") {
    try memory.publish(array: 2, slices: slices)
  }
  try memory.release()
}

/// Throws unless `body` throws an ``AgreedFailure`` whose message contains `part`.
private func expectAgreedRefusal(_ part: String, _ body: () throws -> Void) throws {
  do {
    try body()
  } catch let failure as AgreedFailure {
    try expect(failure.message.contains(part), "'\(part)', found '\(failure.message)'")
    return
  }
  throw CheckFailure(description: "check failed: no refusal with '\(part)'")
}
