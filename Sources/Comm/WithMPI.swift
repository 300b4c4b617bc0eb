import CMPI
import Glibc

/// Runs `body` inside an MPI session and answers the exit code of the process.
///
/// Started without `mpirun`, the world has one rank. When `body` throws on any rank alone, its message
/// is printed on stderr and `MPI_Abort` ends the whole job: finalizing there would wait for the
/// other ranks for ever. An ``AgreedFailure`` is thrown by all ranks, so all finalize and answer its
/// code. Must be called on the main thread, once in a process.
///
/// - Parameters:
///   - options: the environment and, for tests, pretended nodes and small messages.
///   - describe: what to print for an error (after "sail: ") and the exit code for it.
///   - body: the work; its value is the exit code, the same on every rank.
/// - Returns: the exit code; does not return where the job is aborted.
public func withMPI(
  options: SessionOptions,
  describe: @escaping (any Error) -> (message: String, code: Int32),
  _ body: (borrowing Communicator) throws -> Int32
) -> Int32 {
  let session: Session
  do {
    try startMPI()
    session = try Session(options: options, describe: describe)
  } catch {
    leave(because: error, describe: describe)
  }

  if let mismatch = launcherMismatch(worldSize: session.size, environment: options.environment) {
    if speaksForCopies(environment: options.environment) { complain(mismatch) }
    return finalized(2)
  }
  do {
    let communicator = Communicator(session: session)
    return finalized(try body(communicator))
  } catch let failure as AgreedFailure {
    if failure.rank == session.rank { complain(failure.message) }
    return finalized(failure.code)
  } catch {
    if session.size > 1 { leave(because: error, describe: describe) }
    let (message, code) = describe(error)
    complain(message)
    return finalized(code)
  }
}

private func startMPI() throws(CommError) {
  var state: Int32 = 0
  try check(MPI_Initialized(&state), "MPI_Initialized")
  guard state == 0 else {
    throw CommError("MPI was already initialized: a process has one session, opened by withMPI")
  }
  var provided: Int32 = 0
  try check(
    MPI_Init_thread(nil, nil, Int32(MPI_THREAD_FUNNELED), &provided), "MPI_Init_thread")
  guard provided >= Int32(MPI_THREAD_FUNNELED) else {
    throw CommError(
      "this MPI library grants thread level \(provided) where MPI_THREAD_FUNNELED is needed: "
        + "use an Open MPI built with threads")
  }
}

/// Ends the job from a rank that fails alone.
private func leave(
  because error: any Error, describe: (any Error) -> (message: String, code: Int32)
) -> Never {
  let (message, code) = describe(error)
  var initialized: Int32 = 0
  var finalized: Int32 = 0
  MPI_Initialized(&initialized)
  MPI_Finalized(&finalized)
  let running = initialized != 0 && finalized == 0
  if running {
    // Ranks that fail in the same way at the same moment say it once a node: the others wait for the
    // first to end the job. Between nodes that takes longer than is worth waiting for.
    var rank: Int32 = 0
    MPI_Comm_rank(sail_mpi_comm_world(), &rank)
    if rank > 0 { usleep(200_000 + UInt32(min(rank, 10)) * 50_000) }
  }
  complain(message)
  if running { MPI_Abort(sail_mpi_comm_world(), code) }
  _exit(code)
}

/// Finalizes MPI, which every rank does, and answers the exit code.
private func finalized(_ code: Int32) -> Int32 {
  fflush(nil)
  guard MPI_Finalize() == MPI_SUCCESS else {
    complain("MPI_Finalize failed")
    return code == 0 ? 1 : code
  }
  return code
}

/// Writes one line on stderr in one piece, after what stdout still holds.
private func complain(_ message: String) {
  fflush(nil)
  let line = Array("sail: \(message)\n".utf8)
  var start = 0
  while start < line.count {
    let written = line[start...].withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    if written < 0 && errno == EINTR { continue }
    guard written > 0 else { return }
    start += written
  }
}
