import Comm

/// The ordered sum equals a plain loop over the contributors in every bit.
func checkSum(_ world: borrowing Communicator) throws {
  let size = world.size
  var orders: [[Int]] = [Array(0..<size), Array((0..<size).reversed()), [size - 1], []]
  orders.append((0..<size).filter { $0 % 2 == 0 })
  orders.append((0..<size).map { ($0 * (size == 4 ? 3 : 1) + 1) % size })

  var sensitive = 0
  for count in [0, 1, 5, 1000, 5003] {
    let memory = try NodeMemory(
      communicator: world, arrays: [("other", 7, .perRank), ("gradient", count, .perRank)])
    for slices in sliceRules(count, ranks: size) {
      for order in orders {
        sensitive += try checkOneSum(memory, slices: slices, order: order, rank: world.rank)
      }
    }
    try memory.release()
  }
  // The numbers must be such that another order would have been noticed.
  if size >= 3 { try expect(sensitive > 1000, "sums that depend on the order: \(sensitive)") }
  try checkWaves(world)
}

/// One sum against the reference: how many elements another order would have changed.
private func checkOneSum(
  _ memory: NodeMemory, slices: [Range<Int>], order: [Int], rank: Int
) throws -> Int {
  let gradient = memory.own(1)
  for index in gradient.indices { gradient[index] = value(rank: rank, index: index) }
  let own = slices[rank]
  let accumulator = UnsafeMutableBufferPointer<Float>.allocate(capacity: own.count)
  defer { accumulator.deallocate() }
  for (place, index) in own.enumerated() { accumulator[place] = value(rank: 100, index: index) }
  try memory.orderedSum(gradient: 1, slices: slices, contributors: order, into: accumulator)
  // Overwritten at once: nobody may still be reading.
  gradient.update(repeating: .nan)

  var sensitive = 0
  for (place, index) in own.enumerated() {
    var expected = value(rank: 100, index: index)
    for contributor in order { expected += value(rank: contributor, index: index) }
    try expect(
      accumulator[place].bitPattern == expected.bitPattern,
      "element \(index), slices \(slices), order \(order): expected \(expected), "
        + "found \(accumulator[place])")
    var backwards = value(rank: 100, index: index)
    for contributor in order.reversed() { backwards += value(rank: contributor, index: index) }
    sensitive += backwards.bitPattern == expected.bitPattern ? 0 : 1
  }
  return sensitive
}

/// Many small sums after each other, the last wave with fewer contributors than ranks.
private func checkWaves(_ world: borrowing Communicator) throws {
  let count = 37
  let memory = try NodeMemory(communicator: world, arrays: [("gradient", count, .perRank)])
  let slices = even(count, over: world.size)
  let own = slices[world.rank]
  let accumulator = UnsafeMutableBufferPointer<Float>.allocate(capacity: own.count)
  defer { accumulator.deallocate() }
  accumulator.initialize(repeating: 0)
  let groups = 50 * world.size + 1
  for wave in 0...(groups / world.size) {
    let first = wave * world.size
    let contributors = (0..<world.size).filter { first + $0 < groups }
    let gradient = memory.own(0)
    for index in 0..<count { gradient[index] = value(rank: first + world.rank, index: index) }
    try memory.orderedSum(
      gradient: 0, slices: slices, contributors: contributors, into: accumulator)
  }
  for (place, index) in own.enumerated() {
    var expected: Float = 0
    for group in 0..<groups { expected += value(rank: group, index: index) }
    try expect(accumulator[place].bitPattern == expected.bitPattern, "waves, element \(index)")
  }
  try memory.release()
}

/// An ordered sum into an accumulator of the right length.
func sum(_ memory: NodeMemory, slices: [Range<Int>], contributors: [Int], rank: Int) throws {
  let accumulator = UnsafeMutableBufferPointer<Float>.allocate(capacity: slices[rank].count)
  defer { accumulator.deallocate() }
  accumulator.initialize(repeating: 0)
  try memory.orderedSum(
    gradient: 0, slices: slices, contributors: contributors, into: accumulator)
}

/// Floats over 24 binary orders of magnitude, so that sums depend on their order.
func value(rank: Int, index: Int) -> Float {
  var bits = UInt64(bitPattern: Int64(rank)) &* 0x9E37_79B9_7F4A_7C15
  bits = (bits ^ UInt64(bitPattern: Int64(index))) &* 0xBF58_476D_1CE4_E5B9
  bits ^= bits >> 31
  bits = bits &* 0x94D0_49BB_1331_11EB
  bits ^= bits >> 29
  let magnitude = Float(bits >> 40) * 0x1p-24 + 0.5
  let scaled = magnitude * Float(sign: .plus, exponent: Int(bits % 24) - 12, significand: 1)
  return bits & (1 << 32) == 0 ? scaled : -scaled
}

/// Slices of nearly the same size.
func even(_ count: Int, over ranks: Int) -> [Range<Int>] {
  (0..<ranks).map { count * $0 / ranks..<count * ($0 + 1) / ranks }
}

/// Slices that are even, all with one rank, growing, and with a gap.
func sliceRules(_ count: Int, ranks: Int) -> [[Range<Int>]] {
  let last = (0..<ranks).map { $0 == ranks - 1 ? 0..<count : 0..<0 }
  let first = (0..<ranks).map { $0 == 0 ? 0..<count : count..<count }
  let whole = ranks * (ranks + 1) / 2
  let growing = (0..<ranks).map {
    count * ($0 * ($0 + 1) / 2) / whole..<count * (($0 + 1) * ($0 + 2) / 2) / whole
  }
  let gapped = even(count, over: ranks).map {
    $0.count > 2 ? $0.lowerBound + 1..<$0.upperBound : $0
  }
  return [even(count, over: ranks), last, first, growing, gapped]
}
