import Comm
import Foundation

/// The cases that end with an error, by `request.name`.
func fail(_ request: Request, _ world: borrowing Communicator) throws {
  switch request.name {
  case "throw":
    // The others wait in a collective that the failing rank never reaches.
    if world.rank == request.rank {
      throw CheckFailure(description: "rank \(world.rank) cannot go on", code: 3)
    }
    try world.barrier()
  case "throw-everywhere":
    try world.barrier()
    throw CheckFailure(description: "all ranks found the same fault", code: 3)
  case "agree-one":
    let memory = try NodeMemory(communicator: world, arrays: [("kept open", 10, .perRank)])
    try world.agree {
      if world.rank == request.rank {
        throw CheckFailure(description: "rank \(world.rank) cannot read it", code: 3)
      }
    }
    print("not reached \(memory.own(0).count)")
  case "agree-all":
    try world.agree {
      throw CheckFailure(description: "rank \(world.rank) cannot read it", code: 3)
    }
  case "agree-nested":
    try world.agree {
      _ = try world.agree {
        if world.rank == request.rank {
          throw CheckFailure(description: "rank \(world.rank) cannot read it", code: 3)
        }
      }
    }
  case "different-slices":
    let memory = try NodeMemory(communicator: world, arrays: [("gradient", 100, .perRank)])
    var slices = even(100, over: world.size)
    if world.rank == request.rank { slices[0] = 1..<slices[0].upperBound }
    try sum(memory, slices: slices, contributors: Array(0..<world.size), rank: world.rank)
  case "different-arrays":
    let count = world.rank == request.rank ? 99 : 100
    _ = try NodeMemory(communicator: world, arrays: [("gradient", count, .perRank)])
  case "short-accumulator":
    let memory = try NodeMemory(communicator: world, arrays: [("gradient", 100, .perRank)])
    let slices = even(100, over: world.size)
    if world.rank == request.rank {
      let short = UnsafeMutableBufferPointer<Float>.allocate(capacity: 3)
      defer { short.deallocate() }
      try memory.orderedSum(gradient: 0, slices: slices, contributors: [0], into: short)
    } else {
      try sum(memory, slices: slices, contributors: [0], rank: world.rank)
    }
  case "room":
    _ = try NodeMemory(communicator: world, arrays: [("gradient", 1 << 44, .perRank)])
  case "again":
    throw CheckFailure(
      description: "a second session answered "
        + "\(withMPI(options: request.options, describe: describe) { _ in 0 })")
  default: throw usage("unknown case \(request.name)")
  }
}

/// Nested, successful and recovered phases.
func checkAgree(_ world: borrowing Communicator) throws {
  let doubled = try world.agree { world.rank * 2 }
  try expect(doubled == world.rank * 2, "agree answers each rank's own value")

  for failing in 0..<world.size {
    do {
      try world.agree {
        if world.rank >= failing {
          throw CheckFailure(description: "rank \(world.rank) says no", code: 40)
        }
      }
      throw CheckFailure(description: "agree let a failure pass")
    } catch let failure as AgreedFailure {
      try expect(failure.message == "rank \(failing) says no", "lowest rank's message")
      try expect(failure.code == 40 && failure.rank == failing, "lowest rank's code")
      try expect((failure.underlying != nil) == (world.rank >= failing), "own error")
    }
  }
  // A caught failure leaves the session usable.
  try expect(try world.allGather([world.rank]).count == world.size, "use after a failure")
}

/// Throws when `condition` does not hold.
func expect(_ condition: Bool, _ what: @autoclosure () -> String) throws {
  guard condition else { throw CheckFailure(description: "check failed: \(what())") }
}
