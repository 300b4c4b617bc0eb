// A small program for the tests: runs one case under mpirun and says how it went.
//
//     comm-check CASE|all [--rank N] [--ranks-per-node N] [--round-robin] [--staging BYTES]
//                     [--largest-message BYTES]
import Comm
import Foundation

/// An error with a message and an exit code, as the commands of Sail have.
struct CheckFailure: Error, CustomStringConvertible {
  let description: String
  var code: Int32 = 1
}

/// What the command line asked for.
struct Request {
  var name = ""
  /// The rank that misbehaves, where a case has one.
  var rank = 0
  var options = SessionOptions(environment: ProcessInfo.processInfo.environment)

  init(_ arguments: [String]) throws {
    var rest = arguments[...]
    guard let first = rest.popFirst() else { throw usage("a case is missing") }
    name = first
    while let option = rest.popFirst() {
      switch option {
      case "--round-robin": options.dealing = .roundRobin
      case "--rank": rank = try number(option, rest.popFirst())
      case "--ranks-per-node": options.ranksPerNode = try number(option, rest.popFirst())
      case "--staging": options.stagingBytes = try number(option, rest.popFirst())
      case "--largest-message": options.largestMessageBytes = try number(option, rest.popFirst())
      default: throw usage("unknown option \(option)")
      }
    }
  }

  private func number(_ option: String, _ text: String?) throws -> Int {
    guard let text, let value = Int(text) else { throw usage("\(option) needs a number") }
    return value
  }
}

func usage(_ sentence: String) -> CheckFailure {
  CheckFailure(description: "usage: \(sentence)", code: 2)
}

/// The cases that must end well, in the order of `all`.
let soundCases = ["collectives", "arrays", "sum", "publish", "lengths", "agree"]

func run(_ request: Request, _ world: borrowing Communicator) throws -> Int32 {
  if request.name == "exit" { return 75 }
  for name in request.name == "all" ? soundCases : [request.name] {
    try runCase(name, request, world)
    try world.barrier()
    if world.rank == 0 {
      print("\(name): ok, \(world.size) ranks on \(world.nodeCount) nodes")
    }
  }
  return 0
}

func runCase(_ name: String, _ request: Request, _ world: borrowing Communicator) throws {
  switch name {
  case "collectives": try checkCollectives(world)
  case "arrays": try checkArrays(world)
  case "sum": try checkSum(world)
  case "publish": try checkPublish(world)
  case "lengths": try checkLengths(world)
  case "agree": try checkAgree(world)
  default: try fail(request, world)
  }
}

func describe(_ error: any Error) -> (message: String, code: Int32) {
  ("\(error)", (error as? CheckFailure)?.code ?? 1)
}

do {
  let request = try Request(Array(CommandLine.arguments.dropFirst()))
  exit(withMPI(options: request.options, describe: describe) { try run(request, $0) })
} catch {
  FileHandle.standardError.write(Data("sail: \(error)\n".utf8))
  exit(2)
}
