import CMPI

/// The handles of one MPI session and this rank's place in it.
///
/// Nothing is freed here: freeing is collective, and a rank that unwinds from an error is alone.
/// `MPI_Finalize` frees what is left.
final class Session {
  let options: SessionOptions
  let describe: (any Error) -> (message: String, code: Int32)
  let world: MPI_Comm
  /// The ranks that share memory, before any pretended cut.
  let machine: MPI_Comm
  let node: MPI_Comm
  /// The first rank of each node, in order of node; nil on the other ranks.
  let leaders: MPI_Comm?
  let rank: Int
  let size: Int
  let nodeRank: Int
  let nodeSize: Int
  let nodeCount: Int
  let nodeOfRank: [Int]
  let nodeRankOfRank: [Int]

  /// The session of an initialized MPI; collective.
  init(
    options: SessionOptions,
    describe: @escaping (any Error) -> (message: String, code: Int32)
  ) throws(CommError) {
    try options.validate()
    self.options = options
    self.describe = describe
    let world: MPI_Comm = sail_mpi_comm_world()
    self.world = world
    for communicator in [world, sail_mpi_comm_self()] {
      try check(
        MPI_Comm_set_errhandler(communicator, sail_mpi_errors_return()), "MPI_Comm_set_errhandler")
    }
    rank = try place(in: world)
    size = try count(of: world)

    machine = try made("MPI_Comm_split_type") { [rank] in
      MPI_Comm_split_type(
        world, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), sail_mpi_info_null(), $0)
    }
    if let ranksPerNode = options.ranksPerNode {
      let machineRank = try place(in: machine)
      let pretended = (try count(of: machine) - 1) / ranksPerNode + 1
      let color =
        switch options.dealing {
        case .blocks: machineRank / ranksPerNode
        case .roundRobin: machineRank % pretended
        }
      node = try made("MPI_Comm_split") { [machine, rank] in
        MPI_Comm_split(machine, Int32(color), Int32(rank), $0)
      }
    } else {
      node = machine
    }
    nodeRank = try place(in: node)
    nodeSize = try count(of: node)

    var leader = Int64(rank)
    try check(MPI_Bcast(&leader, 1, sail_mpi_int64(), 0, node), "MPI_Bcast")
    let leaderOfRank = try gathered(leader, from: world, size: size)
    let leaderRanks = leaderOfRank.indices.filter { leaderOfRank[$0] == $0 }
    var nodeOfLeader = [Int](repeating: 0, count: size)
    for (index, leaderRank) in leaderRanks.enumerated() { nodeOfLeader[leaderRank] = index }
    nodeCount = leaderRanks.count
    nodeOfRank = leaderOfRank.map { nodeOfLeader[$0] }
    nodeRankOfRank = try gathered(Int64(nodeRank), from: world, size: size)

    let color = nodeRank == 0 ? 0 : Int32(MPI_UNDEFINED)
    let leaders = try made("MPI_Comm_split") { [rank] in
      MPI_Comm_split(world, color, Int32(rank), $0)
    }
    self.leaders = nodeRank == 0 ? leaders : nil
  }

  /// One number from every rank, in rank order.
  func allGather(_ value: Int) throws(CommError) -> [Int] {
    try gathered(Int64(value), from: world, size: size)
  }

  /// The smallest number of all ranks.
  func minimum(_ value: Int) throws(CommError) -> Int {
    var mine = Int64(value)
    var smallest: Int64 = 0
    try check(
      MPI_Allreduce(&mine, &smallest, 1, sail_mpi_int64(), sail_mpi_min(), world), "MPI_Allreduce")
    return Int(smallest)
  }
}

private func place(in communicator: MPI_Comm) throws(CommError) -> Int {
  var value: Int32 = 0
  try check(MPI_Comm_rank(communicator, &value), "MPI_Comm_rank")
  return Int(value)
}

private func count(of communicator: MPI_Comm) throws(CommError) -> Int {
  var value: Int32 = 0
  try check(MPI_Comm_size(communicator, &value), "MPI_Comm_size")
  return Int(value)
}

private func made(
  _ call: String, _ make: (UnsafeMutablePointer<MPI_Comm?>) -> Int32
) throws(CommError) -> MPI_Comm {
  var communicator: MPI_Comm?
  try check(make(&communicator), call)
  guard let communicator else { throw CommError("\(call) failed: no communicator was made") }
  return communicator
}

private func gathered(
  _ value: Int64, from communicator: MPI_Comm, size: Int
) throws(CommError) -> [Int] {
  var mine = value
  var all = [Int64](repeating: 0, count: size)
  try check(
    MPI_Allgather(&mine, 1, sail_mpi_int64(), &all, 1, sail_mpi_int64(), communicator),
    "MPI_Allgather")
  return all.map { Int($0) }
}
