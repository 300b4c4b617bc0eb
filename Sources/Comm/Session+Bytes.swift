import CMPI

extension Session {
  /// Bytes of every rank in rank order (MPI-3.1 §5.7), in one message or, above the largest message,
  /// one broadcast a rank.
  func allGather(_ bytes: UnsafeRawBufferPointer) throws -> [[UInt8]] {
    let lengths = try allGather(bytes.count)
    var total = 0
    for length in lengths {
      let (sum, overflow) = total.addingReportingOverflow(length)
      guard !overflow else {
        throw CommError("allGather: the bytes of all ranks cannot be counted")
      }
      total = sum
    }
    guard total <= options.largestMessageBytes else {
      var all: [[UInt8]] = []
      for root in 0..<size {
        var part = root == rank ? Array(bytes) : [UInt8](repeating: 0, count: lengths[root])
        try part.withUnsafeMutableBytes { try broadcast($0, from: root, in: world) }
        all.append(part)
      }
      return all
    }

    var starts: [Int] = []
    var start = 0
    for length in lengths {
      starts.append(start)
      start += length
    }
    var received = [UInt8](repeating: 0, count: total)
    let code = received.withUnsafeMutableBytes { target in
      MPI_Allgatherv(
        bytes.baseAddress, Int32(bytes.count), sail_mpi_byte(), target.baseAddress,
        lengths.map { Int32($0) }, starts.map { Int32($0) }, sail_mpi_byte(), world)
    }
    try check(code, "MPI_Allgatherv")
    return zip(starts, lengths).map { Array(received[$0..<($0 + $1)]) }
  }

  /// The root's bytes on every rank.
  func broadcast(_ bytes: [UInt8], from root: Int) throws -> [UInt8] {
    var length = Int64(bytes.count)
    try check(MPI_Bcast(&length, 1, sail_mpi_int64(), Int32(root), world), "MPI_Bcast")
    var result = rank == root ? bytes : [UInt8](repeating: 0, count: Int(length))
    try result.withUnsafeMutableBytes { try broadcast($0, from: root, in: world) }
    return result
  }

  /// Overwrites `bytes` with the root's, as many on every rank, in messages of bounded size.
  func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, from root: Int, in communicator: MPI_Comm
  ) throws(CommError) {
    var start = 0
    while start < bytes.count {
      let count = min(options.largestMessageBytes, bytes.count - start)
      let part = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<(start + count)])
      try check(
        MPI_Bcast(part.baseAddress, Int32(count), sail_mpi_byte(), Int32(root), communicator),
        "MPI_Bcast")
      start += count
    }
  }

  /// Throws on every rank when the ranks did not give the same numbers; also a barrier.
  func expectSame(_ numbers: [Int], _ sentence: String) throws {
    guard size > 1 else { return }
    // FNV-1a over whole words; its complement's minimum is the complement of the maximum.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for number in numbers {
      hash = (hash ^ UInt64(bitPattern: Int64(number))) &* 0x0000_0100_0000_01b3
      hash ^= hash >> 29
    }
    var mine = [hash, ~hash]
    var smallest = [UInt64](repeating: 0, count: 2)
    try check(
      MPI_Allreduce(&mine, &smallest, 2, sail_mpi_uint64(), sail_mpi_min(), world),
      "MPI_Allreduce")
    guard smallest[0] == ~smallest[1] else {
      throw agreedFailure(CommError(sentence), rank: 0)
    }
  }
}
