import CMPI

extension NodeMemory {
  /// Adds this rank's slice of every contributor's array to `accumulator`, in the order of
  /// `contributors`, from the left: acc ← acc + g(0), acc ← acc + g(1), … elementwise.
  ///
  /// The order of additions does not depend on the number of ranks or nodes. Arrays of this node are
  /// read in place; slices of other nodes come in bounded messages. Collective: on entry every rank's
  /// array must be complete, on return all may be overwritten.
  ///
  /// - Parameters:
  ///   - index: an array of ``Kind/perRank``.
  ///   - slices: the part of each rank, in rank order; ascending, without overlap.
  ///   - contributors: the ranks whose arrays are added, in this order; each at most once.
  ///   - accumulator: this rank's slice of the sum, added to.
  /// - Throws: ``CommError`` for lengths that do not fit this rank's arrays; ``AgreedFailure`` when the
  ///   ranks were called with different slices or contributors.
  public func orderedSum(
    gradient index: Int, slices: [Range<Int>], contributors: [Int],
    into accumulator: UnsafeMutableBufferPointer<Float>
  ) throws {
    let array = try checked(index, kind: .perRank, slices: slices, call: "orderedSum")
    let own = slices[session.rank]
    guard accumulator.count == own.count else {
      throw CommError(
        "orderedSum: expected an accumulator of \(own.count) elements, the slice of rank "
          + "\(session.rank), found \(accumulator.count)")
    }
    var seen = [Bool](repeating: false, count: session.size)
    for contributor in contributors {
      guard seen.indices ~= contributor, !seen[contributor] else {
        throw CommError(
          "orderedSum: expected different contributors from 0 to \(session.size - 1), "
            + "found \(contributors)")
      }
      seen[contributor] = true
    }
    try synchronize()
    try session.expectSame(
      [0, index, array.count, contributors.count] + contributors + bounds(slices),
      "orderedSum: the ranks were called with different slices or contributors")
    try synchronize()

    let crosses = session.nodeCount > 1 && !contributors.isEmpty
    // The same on every rank, so that both ends of a message agree on its length.
    let chunk =
      crosses
      ? max(1, session.options.stagingBytes / MemoryLayout<Float>.stride / contributors.count)
      : Int.max
    let longest = crosses ? slices.reduce(0) { max($0, $1.count) } : own.count
    var start = 0
    while start < longest {
      let length = min(chunk, longest - start)
      let part = start..<(start + length)
      let received =
        crosses
        ? try exchange(part, of: index, slices: slices, contributors: contributors, chunk: chunk)
        : [UnsafePointer<Float>?](repeating: nil, count: contributors.count)
      let mine = part.clamped(to: 0..<own.count)
      if let target = accumulator.baseAddress, !mine.isEmpty {
        let sources = contributors.indices.compactMap { position -> UnsafePointer<Float>? in
          received[position]
            ?? neighbour(index, nodeRank: session.nodeRankOfRank[contributors[position]])
            .baseAddress.map { $0 + own.lowerBound + mine.lowerBound }
        }
        add(sources, to: target + mine.lowerBound, count: mine.count)
      }
      start += length
    }
    try settle()
  }

  /// Sends `part` of every distant rank's slice and receives that of this rank's from every distant
  /// contributor: pointers to what came, by place in `contributors`, nil for those of this node.
  private func exchange(
    _ part: Range<Int>, of index: Int, slices: [Range<Int>], contributors: [Int], chunk: Int
  ) throws(CommError) -> [UnsafePointer<Float>?] {
    let tag: Int32 = 1
    let nodes = session.nodeOfRank
    let own = slices[session.rank]
    var requests: [MPI_Request?] = []
    var received = [UnsafePointer<Float>?](repeating: nil, count: contributors.count)

    let mine = part.clamped(to: 0..<own.count)
    let staging = stagingArea(count: min(chunk, part.count) * contributors.count)
    for (position, contributor) in contributors.enumerated()
    where nodes[contributor] != nodes[session.rank] && !mine.isEmpty {
      guard let area = staging.baseAddress else { continue }
      let target = area + position * min(chunk, part.count)
      var request: MPI_Request?
      try check(
        MPI_Irecv(
          target, Int32(mine.count), sail_mpi_float(), Int32(contributor), tag, session.world,
          &request), "MPI_Irecv")
      requests.append(request)
      received[position] = UnsafePointer(target)
    }
    if contributors.contains(session.rank) {
      // Each begins with the rank after it, so that not all send to rank 0 first.
      for step in 1..<max(session.size, 1) {
        let other = (session.rank + step) % session.size
        let theirs = part.clamped(to: 0..<slices[other].count)
        guard nodes[other] != nodes[session.rank], !theirs.isEmpty,
          let source = self.own(index).baseAddress
        else { continue }
        var request: MPI_Request?
        try check(
          MPI_Isend(
            source + slices[other].lowerBound + theirs.lowerBound, Int32(theirs.count),
            sail_mpi_float(), Int32(other), tag, session.world, &request), "MPI_Isend")
        requests.append(request)
      }
    }
    try check(
      MPI_Waitall(Int32(requests.count), &requests, sail_mpi_statuses_ignore()), "MPI_Waitall")
    return received
  }

  private func stagingArea(count: Int) -> UnsafeMutableBufferPointer<Float> {
    if let staging, staging.count >= count { return staging }
    staging?.deallocate()
    let area = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
    staging = area
    return area
  }

  /// The array at `index`, when it has that kind and the slices fit it.
  func checked(
    _ index: Int, kind: Kind, slices: [Range<Int>], call: String
  ) throws(CommError) -> Placed {
    guard arrays.indices ~= index else {
      throw CommError("\(call): expected an array from 0 to \(arrays.count - 1), found \(index)")
    }
    let array = arrays[index]
    guard array.kind == kind else {
      throw CommError(
        "\(call): expected an array of kind \(kind), found \(array.name) of kind \(array.kind)")
    }
    guard slices.count == session.size else {
      throw CommError(
        "\(call): expected \(session.size) slices, one a rank, found \(slices.count)")
    }
    var end = 0
    for (rank, slice) in slices.enumerated() {
      guard slice.lowerBound >= end, slice.upperBound <= array.count else {
        throw CommError(
          "\(call): expected ascending slices of array \(array.name) of \(array.count) elements, "
            + "found \(slice) for rank \(rank) after \(end)")
      }
      end = slice.upperBound
    }
    return array
  }

  func bounds(_ slices: [Range<Int>]) -> [Int] {
    slices.flatMap { [$0.lowerBound, $0.upperBound] }
  }
}

/// target ← target + sources[0], then + sources[1] …, in blocks that stay in the nearest cache.
private func add(
  _ sources: [UnsafePointer<Float>], to target: UnsafeMutablePointer<Float>, count: Int
) {
  let block = 2048
  var start = 0
  while start < count {
    let length = min(block, count - start)
    for source in sources {
      addBlock(source + start, to: target + start, count: length)
    }
    start += length
  }
}

/// The loop that must vectorise: raw pointers, one sum an element, nothing checked inside.
@inline(never)
private func addBlock(
  _ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, count: Int
) {
  for index in 0..<count {
    target[index] += source[index]
  }
}
