import CMPI
import Glibc

/// Arrays start on multiples of this many bytes: a cache line, and the widest vector register.
let arrayAlignment = 64

/// Where the arrays lie in a rank's memory, and how much of it there is.
struct NodeMemoryPlan {
  let arrays: [NodeMemory.Placed]
  private let perRankBytes: Int
  private let perNodeBytes: Int

  init(_ requests: [NodeMemory.Request], session: Session) throws(CommError) {
    // Arrays of each rank come first, so that offsets are the same for the rank that also holds the
    // node's arrays behind its own.
    var offsets = [Int](repeating: 0, count: requests.count)
    var end = 0
    var perRankEnd = 0
    for kind in [NodeMemory.Kind.perRank, .perNode] {
      for (index, request) in requests.enumerated() where request.kind == kind {
        offsets[index] = end
        end = try NodeMemoryPlan.end(of: request, after: end, ranks: session.size)
      }
      if kind == .perRank { perRankEnd = end }
    }
    perRankBytes = perRankEnd
    perNodeBytes = end - perRankEnd
    arrays = zip(requests, offsets).map {
      .init(name: $0.name, count: $0.count, kind: $0.kind, offset: $1)
    }
  }

  private static func end(
    of request: NodeMemory.Request, after start: Int, ranks: Int
  ) throws(CommError) -> Int {
    guard request.count >= 0 else {
      throw CommError(
        "node memory: array \(request.name) has \(request.count) elements, expected 0 or more")
    }
    let (bytes, productOverflow) = request.count.multipliedReportingOverflow(
      by: MemoryLayout<Float>.stride)
    let (raw, sumOverflow) = start.addingReportingOverflow(bytes)
    let (padded, roundOverflow) = raw.addingReportingOverflow(arrayAlignment - 1)
    // Room for the sum over all ranks and their slack.
    let (_, totalOverflow) = padded.multipliedReportingOverflow(by: 2 * ranks)
    guard !productOverflow && !sumOverflow && !roundOverflow && !totalOverflow else {
      throw CommError(
        "node memory: array \(request.name) of \(request.count) elements is too large to address")
    }
    return padded / arrayAlignment * arrayAlignment
  }

  /// The bytes that one rank of a node asks for, with slack to round its start up.
  func bytes(nodeRank: Int) -> Int {
    perRankBytes + (nodeRank == 0 ? perNodeBytes : 0) + arrayAlignment
  }

  /// Refuses when the windows of all nodes that share this machine do not fit in its shared memory.
  ///
  /// Open MPI checks each window alone and reserves nothing: what does not fit would be a SIGBUS when
  /// it is touched.
  func checkRoom(session: Session, communicator: borrowing Communicator) throws {
    // A page a rank for the window's own records.
    var mine = session.nodeSize > 1 ? Int64(bytes(nodeRank: session.nodeRank) + 4096) : 0
    var needed: Int64 = 0
    try check(
      MPI_Allreduce(&mine, &needed, 1, sail_mpi_int64(), sail_mpi_sum(), session.machine),
      "MPI_Allreduce")
    try communicator.agree { try checkRoom(needed: needed, session: session) }
  }

  private func checkRoom(needed: Int64, session: Session) throws {
    guard needed > 0 else { return }
    let folder = session.options.environment["OMPI_MCA_osc_sm_backing_directory"] ?? "/dev/shm"
    var room = statvfs()
    guard statvfs(folder, &room) == 0 else {
      throw CommError(
        "node memory: cannot ask \(folder) for its free room "
          + "(\(String(cString: strerror(errno)))); name a folder on a memory file system with "
          + "`mpirun --mca osc_sm_backing_directory DIR`")
    }
    let (bytes, overflow) = UInt64(room.f_bavail).multipliedReportingOverflow(
      by: UInt64(room.f_frsize))
    let available = overflow ? UInt64.max : bytes
    guard UInt64(needed) <= available else {
      throw CommError(
        "node memory: \(folder) has too little room for the arrays of this machine's ranks: "
          + "needed \(needed) bytes, available \(available); make /dev/shm larger (in a container "
          + "`--shm-size`, else `mount -o remount,size=…`), or name a roomier folder with "
          + "`mpirun --mca osc_sm_backing_directory DIR`")
    }
  }
}

/// Zeroed memory of this process alone; its pages appear where they are first touched.
func privateMemory(bytes: Int) throws(CommError) -> UnsafeMutableRawBufferPointer {
  let start = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
  guard let start, start != MAP_FAILED else {
    throw CommError(
      "node memory: cannot reserve \(bytes) bytes (\(String(cString: strerror(errno)))); "
        + "use fewer ranks a node, a smaller model or a larger machine")
  }
  // A hint: fewer page faults where the system has huge pages.
  madvise(start, bytes, MADV_HUGEPAGE)
  return UnsafeMutableRawBufferPointer(start: start, count: bytes)
}

/// A shared window with `bytes` of this rank, and where each rank's part starts here; collective.
///
/// Open MPI's parts are only 8-byte aligned: every rank rounds its own start up and tells the others
/// by how much.
func sharedMemory(
  bytes: Int, _ session: Session
) throws(CommError) -> ([UnsafeMutableRawPointer], MPI_Win) {
  var base: UnsafeMutableRawPointer?
  var made: MPI_Win?
  try check(
    MPI_Win_allocate_shared(
      MPI_Aint(bytes), 1, sail_mpi_info_null(), session.node, &base, &made),
    "MPI_Win_allocate_shared")
  guard let base, let window = made else {
    throw CommError("MPI_Win_allocate_shared failed: no window was made")
  }
  try check(
    MPI_Win_set_errhandler(window, sail_mpi_errors_return()), "MPI_Win_set_errhandler")
  // MPI_Win_sync belongs in an access epoch: one, from here to the release.
  try check(MPI_Win_lock_all(Int32(MPI_MODE_NOCHECK), window), "MPI_Win_lock_all")

  var slack = Int64(base.alignedUp(toMultipleOf: arrayAlignment) - base)
  var slacks = [Int64](repeating: 0, count: session.nodeSize)
  try check(
    MPI_Allgather(
      &slack, 1, sail_mpi_int64(), &slacks, 1, sail_mpi_int64(), session.node),
    "MPI_Allgather")
  var starts: [UnsafeMutableRawPointer] = []
  for (nodeRank, slack) in slacks.enumerated() {
    var size = MPI_Aint(0)
    var unit: Int32 = 0
    var start: UnsafeMutableRawPointer?
    try check(
      MPI_Win_shared_query(window, Int32(nodeRank), &size, &unit, &start), "MPI_Win_shared_query")
    guard let start else {
      throw CommError("MPI_Win_shared_query failed: rank \(nodeRank) of the node has no memory")
    }
    starts.append(start + Int(slack))
  }
  return (starts, window)
}
