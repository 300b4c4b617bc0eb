import Comm
import Foundation
import JSONText
import Model

/// What `sail reward` is asked.
public struct RewardOptions: Sendable {
  /// Reward model folder.
  public var model: String
  /// Prompts with completions.
  public var data: String
  /// File to write.
  public var output: String
  /// Takes the opposite of the model's output.
  public var isReversed: Bool
  /// Puts the model's end token behind each completion.
  public var addsEndToken: Bool
  /// Threads and number type.
  public var compute: ComputeOptions

  /// Options from their parts.
  public init(
    model: String, data: String, output: String, isReversed: Bool, addsEndToken: Bool,
    compute: ComputeOptions
  ) {
    self.model = model
    self.data = data
    self.output = output
    self.isReversed = isReversed
    self.addsEndToken = addsEndToken
    self.compute = compute
  }
}

// Texts scored together.
private let rewardBatch = 8

/// Writes a reward model's score of each prompt with its completion, one line a row in the order of the
/// data; collective.
///
/// - Parameters:
///   - options: model, data, output.
///   - communicator: all ranks.
/// - Returns: the exit code.
/// - Throws: what is wrong with model or data.
public func reward(_ options: RewardOptions, communicator: borrowing Communicator) throws -> Int32 {
  let progress = ProgressLine(style: .auto, isShown: communicator.rank == 0)
  let rows = try communicator.agree {
    try checkWritable(options.output)
    return try DataLine.read(path: options.data).map { line in
      (
        place: line.place, prompt: try line.string("prompt"),
        completion: try line.string("completion")
      )
    }
  }
  let model = try LoadedModel(
    path: options.model, use: .scores, reference: nil, compute: options.compute,
    communicator: communicator)
  let texts = try communicator.agree {
    let endToken = try options.addsEndToken ? model.folder.requireEndToken() : nil
    return try rows.map { row in
      let tokens = model.folder.rewardTokens(
        prompt: row.prompt, completion: row.completion, endToken: endToken)
      guard !tokens.isEmpty else {
        throw DataError(
          row.place, "prompt and completion have no token together; give them some text")
      }
      try model.folder.checkPositions(tokens.count, "\(row.place) has")
      return tokens
    }
  }
  let lines = try mapRows(
    count: texts.count, batch: rewardBatch, what: "reward", progress: progress,
    communicator: communicator
  ) { range in
    try zip(range, model.scores(Array(texts[range]), isReversed: options.isReversed)).map {
      index, score in
      guard score.isFinite else {
        throw ModelError(
          "\(options.model): the score of \(rows[index].place) is not a finite number; the weights "
            + "are damaged")
      }
      return Array(JSON.object([JSON.Member(key: "score", value: .number(score))]).text.utf8)
    }
  }
  try writeLines(lines, to: options.output, communicator: communicator)
  return 0
}

extension LoadedModel {
  /// Scores of token sequences under a reward model.
  func scores(_ sequences: [[Int32]], isReversed: Bool) -> [Double] {
    worker.scores(of: sequences).map { isReversed ? -$0 : $0 }
  }
}
