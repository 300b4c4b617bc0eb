import Comm
import Model
import Tensor
import Worker

/// What a command needs of its model.
enum ModelUse {
  /// Probabilities of tokens; the name is the command's.
  case probabilities(String)
  /// A reward model's scores.
  case scores
  /// Either of them.
  case either
}

/// How a command that does not train computes.
public struct ComputeOptions: Sendable {
  /// Threads a rank; nil for all that it may use.
  public var threads: Int?
  /// Number type of matrix products.
  public var precision: RunConfiguration.Precision

  /// Options from their parts.
  public init(threads: Int?, precision: RunConfiguration.Precision) {
    self.threads = threads
    self.precision = precision
  }
}

/// A model for a command that does not train, with an optional reference.
struct LoadedModel {
  let folder: ModelFolder
  let reference: ModelFolder?
  let memory: ModelMemory
  let worker: RankWorker
  /// Oracles that are models, in the order they were asked for.
  let oracles: [Oracle]

  /// Reads models and weights; an oracle that is compared with something has its own reference, else the
  /// model's; collective.
  ///
  /// - Parameters:
  ///   - path: model folder or adapter folder.
  ///   - use: what the command needs of it.
  ///   - base: folder of the base model of adapter folders, nil for the one that each names.
  ///   - referencePath: reference folder, nil for none.
  ///   - oracles: oracles that are models.
  ///   - options: threads and number type.
  ///   - communicator: all ranks.
  /// - Throws: what is wrong with a folder.
  init(
    path: String, use: ModelUse, base: String? = nil, reference referencePath: String?,
    oracles: [RunConfiguration.OracleModel] = [],
    compute options: ComputeOptions, communicator: borrowing Communicator
  ) throws {
    let (folder, reference, folders) = try communicator.agree {
      let folder = try ModelFolder(path: path, base: base)
      let reference = try referencePath.map { try ModelFolder(path: $0, base: base) }
      switch use {
      case .probabilities(let command): try folder.requireVocabularyHead(for: command)
      case .scores: try folder.requireScoreHead()
      case .either: break
      }
      try reference?.requireVocabularyHead(for: "--reference")
      if let reference { try folder.checkVocabulary(of: reference) }
      return (
        folder, reference, try oracles.map { try OracleFolders($0, fallback: reference) }
      )
    }
    self.folder = folder
    self.reference = reference
    let arithmetic = try AgreedArithmetic(
      threads: options.threads.map { .count($0) } ?? .auto, precision: options.precision,
      communicator: communicator)
    let (compute, precision) = (arithmetic.compute, arithmetic.precision)
    for note in arithmetic.notes {
      ProgressLine(style: .auto, isShown: communicator.rank == 0).note("warning: \(note)")
    }
    memory = try ModelMemory(
      policy: ModelRequest("policy", frozen: folder),
      reference: reference.map { ModelRequest("reference", frozen: $0) },
      others: folders.flatMap(\.models), precision: precision, hasGradient: false,
      communicator: communicator)
    try memory.fill(pool: compute.pool, communicator: communicator)
    worker = RankWorker(policy: memory.policy, reference: memory.reference, compute: compute)
    var rest = memory.others[...]
    var made: [Oracle] = []
    for folder in folders {
      made.append(try folder.oracle(rest, reference: memory.reference, compute: compute))
      rest = rest.dropFirst(folder.models.count)
    }
    self.oracles = made
  }
}

/// Deals rows to the ranks in fixed batches and collects the results in the order of the rows.
///
/// Batches do not depend on the rank count, so neither do results.
/// - Parameters:
///   - count: number of rows.
///   - batch: rows worked on together.
///   - what: name of the action, for the progress line.
///   - progress: shown on rank 0.
///   - communicator: all ranks; collective.
///   - body: results of a batch, one a row.
/// - Returns: all results, on every rank.
/// - Throws: what `body` throws, and errors of MPI.
func mapRows(
  count: Int, batch: Int, what: String, progress: ProgressLine,
  communicator: borrowing Communicator, _ body: (Range<Int>) throws -> [[UInt8]]
) throws -> [[UInt8]] {
  let batches = (count + batch - 1) / batch
  let start = Stopwatch.now
  var own: [[UInt8]] = []
  for index in stride(from: communicator.rank, to: batches, by: communicator.size) {
    let range = index * batch..<min(count, (index + 1) * batch)
    own += try body(range)
    progress.show(what, done: range.upperBound, of: count, since: start)
  }
  progress.finish()
  let parts = try communicator.allGather(bytes: frame(own)).map(unframe)
  var next = [Int](repeating: 0, count: parts.count)
  var result: [[UInt8]] = []
  result.reserveCapacity(count)
  for row in 0..<count {
    let owner = row / batch % communicator.size
    result.append(parts[owner][next[owner]])
    next[owner] += 1
  }
  return result
}

/// Lines one behind the other, each with its length in eight bytes before it.
private func frame(_ lines: [[UInt8]]) -> [UInt8] {
  var result: [UInt8] = []
  for line in lines {
    withUnsafeBytes(of: UInt64(line.count).littleEndian) { result += $0 }
    result += line
  }
  return result
}

private func unframe(_ bytes: [UInt8]) -> [[UInt8]] {
  var result: [[UInt8]] = []
  var position = 0
  while position + 8 <= bytes.count {
    var length = 0
    for index in (0..<8).reversed() { length = length << 8 | Int(bytes[position + index]) }
    position += 8
    result.append(Array(bytes[position..<position + length]))
    position += length
  }
  return result
}
