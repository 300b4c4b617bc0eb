import CMPI
import Glibc

/// Flat f32 arrays that all ranks of a node can read, all asked for at once.
///
/// With several ranks on the node they lie in one MPI shared window (MPI-3.1 §11.2.3), with one rank in
/// private memory. Every array starts on a 64-byte boundary and is zero, first touched by the rank
/// (``Kind/perRank``) or by all ranks of the node in equal parts (``Kind/perNode``).
///
/// Pointers are valid until ``release()`` or the end of the session. Nothing is freed on an error path:
/// freeing a window is collective.
public final class NodeMemory {
  /// Who has a copy of an array.
  public enum Kind: Sendable {
    /// Each rank has its own; the neighbours on the node may read it.
    case perRank
    /// The ranks of a node have one together; each writes its own slice.
    case perNode
  }

  /// One array: its name (for messages), the number of floats, and who has a copy.
  public typealias Request = (name: String, count: Int, kind: Kind)

  struct Placed {
    let name: String
    let count: Int
    let kind: Kind
    /// Bytes from the start of the memory of the rank that holds it.
    let offset: Int
  }

  let session: Session
  let arrays: [Placed]
  /// Where the memory of each rank of the node starts, on a 64-byte boundary.
  private var starts: [UnsafeMutableRawPointer]
  private var window: MPI_Win?
  private var mapped: UnsafeMutableRawBufferPointer?
  /// Where slices of other nodes are received; made at the first need.
  var staging: UnsafeMutableBufferPointer<Float>?

  /// Makes the arrays, the same list on every rank; collective.
  ///
  /// - Throws: ``AgreedFailure`` when the lists differ or a node lacks room in shared memory.
  public init(communicator: borrowing Communicator, arrays: [Request]) throws {
    let session = communicator.session
    let plan = try communicator.agree { try NodeMemoryPlan(arrays, session: session) }
    try session.expectSame(
      plan.arrays.flatMap { [$0.count, $0.kind == .perNode ? 1 : 0] },
      "node memory: the ranks asked for different arrays; expected the same counts on every rank")
    self.session = session
    self.arrays = plan.arrays
    try plan.checkRoom(session: session, communicator: communicator)
    if session.nodeSize > 1 {
      (starts, window) = try sharedMemory(bytes: plan.bytes(nodeRank: session.nodeRank), session)
    } else {
      let memory = try privateMemory(bytes: plan.bytes(nodeRank: 0))
      mapped = memory
      starts = memory.baseAddress.map { [$0] } ?? []
    }
    if window != nil { touch() }
    try settle()
  }

  deinit {
    staging?.deallocate()
    if let mapped { munmap(mapped.baseAddress, mapped.count) }
  }

  /// Frees the memory, collectively; every pointer into it is invalid afterwards.
  public func release() throws {
    staging?.deallocate()
    staging = nil
    starts = []
    if let memory = mapped {
      munmap(memory.baseAddress, memory.count)
      mapped = nil
    }
    guard let open = window else { return }
    try check(MPI_Win_unlock_all(open), "MPI_Win_unlock_all")
    try check(MPI_Win_free(&window), "MPI_Win_free")
    window = nil
  }

  /// This rank's array, or the node's one copy; `index` counts the arrays as they were asked for.
  public func own(_ index: Int) -> UnsafeMutableBufferPointer<Float> {
    floats(index, nodeRank: session.nodeRank)
  }

  /// The array of another rank of this node; the node's one copy is everyone's.
  public func neighbour(_ index: Int, nodeRank: Int) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(floats(index, nodeRank: nodeRank))
  }

  private func floats(_ index: Int, nodeRank: Int) -> UnsafeMutableBufferPointer<Float> {
    precondition(arrays.indices ~= index, "no such array")
    precondition(0..<session.nodeSize ~= nodeRank, "no such rank on this node")
    precondition(!starts.isEmpty, "the memory was released")
    let array = arrays[index]
    let holder = starts[array.kind == .perNode ? 0 : nodeRank]
    let start = (holder + array.offset).bindMemory(to: Float.self, capacity: array.count)
    return UnsafeMutableBufferPointer(start: start, count: array.count)
  }

  /// Writes zeros, so that the pages exist now and lie near the rank that works on them.
  private func touch() {
    for (index, array) in arrays.enumerated() {
      let floats = own(index)
      switch array.kind {
      case .perRank:
        floats.update(repeating: 0)
      case .perNode:
        // Without a product that could overflow: the first `extra` ranks touch one more.
        let (share, extra) = array.count.quotientAndRemainder(dividingBy: session.nodeSize)
        let first = session.nodeRank * share + min(session.nodeRank, extra)
        let count = share + (session.nodeRank < extra ? 1 : 0)
        floats.extracting(first..<(first + count)).update(repeating: 0)
      }
    }
  }

  /// Makes this rank's writes visible to the window's memory (MPI-3.1 §11.7); see ``settle()``.
  func synchronize() throws(CommError) {
    guard let window else { return }
    try check(MPI_Win_sync(window), "MPI_Win_sync")
  }

  /// After it, every rank of the node sees what all of them wrote before it.
  func settle() throws(CommError) {
    guard session.nodeSize > 1 else { return }
    try synchronize()
    try check(MPI_Barrier(session.node), "MPI_Barrier")
    try synchronize()
  }
}
