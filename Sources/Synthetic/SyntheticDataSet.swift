import Foundation
import JSONText
import Tokenizer

/// Why a synthetic data set cannot be written.
public struct SyntheticError: Error, CustomStringConvertible, Sendable {
  /// One sentence: what, where, expected, found, what to do.
  public let description: String
}

/// A folder with a synthetic task's data and the configuration and tokenizer of a small model.
public struct SyntheticDataSet {
  /// What to write.
  public struct Settings: Sendable, Equatable {
    /// Decides every text and label.
    public var seed: UInt64 = 1
    /// The probability that a label is turned around, 0 … 0.5, in training and evaluation pairs.
    public var labelNoise = 0.1
    /// Rows of supervised training.
    public var supervisedCount = 16000
    /// Preference pairs for training.
    public var trainCount = 8000
    /// Preference pairs for evaluation.
    public var evalCount = 512
    /// Prompts for generation.
    public var promptCount = 256
    /// Token ids at most, the special ones included; the default grammar makes about 760.
    public var vocabularySize = 1024
    /// The sizes of the model.
    public var model = SmallModel()

    /// The default settings.
    public init() {}
  }

  /// Writes the folder, which must not exist yet, all at once.
  ///
  /// It holds `sft.jsonl`, `train.jsonl`, `eval.jsonl`, `prompts.jsonl`, `README.md` and `model/`. No
  /// prompt occurs twice, in one file or in two. The same settings give the same bytes.
  /// - Parameters:
  ///   - settings: what to write.
  ///   - folder: the path of the folder; missing parents are made.
  ///   - progress: told what is being written, one line a call.
  /// - Throws: `SyntheticError` on unusable settings or paths; nothing is left behind then.
  public static func write(
    _ settings: Settings, folder: String, progress: (String) -> Void
  ) throws(SyntheticError) {
    try settings.validate()
    guard !FileManager.default.fileExists(atPath: folder) else {
      throw SyntheticError(
        description: "\(folder) exists already: remove it or choose another folder")
    }
    let unfinished = folder + ".unfinished"
    do {
      try? FileManager.default.removeItem(atPath: unfinished)
      try FileManager.default.createDirectory(
        atPath: unfinished + "/model", withIntermediateDirectories: true)
      try writeFiles(settings, folder: unfinished, progress: progress)
      try FileManager.default.moveItem(atPath: unfinished, toPath: folder)
    } catch {
      try? FileManager.default.removeItem(atPath: unfinished)
      if let error = error as? SyntheticError { throw error }
      throw SyntheticError(
        description: "cannot write the synthetic data set to \(folder): \(error)")
    }
  }

  private static func writeFiles(
    _ settings: Settings, folder: String, progress: (String) -> Void
  ) throws {
    let task = SyntheticTask(seed: settings.seed, labelNoise: settings.labelNoise)
    var prompts = DistinctPrompts(task: task)

    progress("sft.jsonl: \(settings.supervisedCount) answered requests")
    var texts: [String] = []
    var lines = FileLines()
    for _ in 0..<settings.supervisedCount {
      let request = prompts.next().request
      let completion = task.answer(to: request, sample: 0)
      lines.add(["prompt": .string(request.prompt), "completion": .string(completion)])
      if texts.count < 2 * tokenizerRowCount { texts += [request.prompt, completion] }
    }
    try lines.write(to: folder + "/sft.jsonl")

    for (name, count) in [("train", settings.trainCount), ("eval", settings.evalCount)] {
      progress("\(name).jsonl: \(count) preference pairs")
      var lines = FileLines()
      for _ in 0..<count {
        let pair = task.pair(index: prompts.next().index)
        lines.add([
          "prompt": .string(pair.prompt), "chosen": .string(pair.chosen),
          "rejected": .string(pair.rejected),
        ])
      }
      try lines.write(to: "\(folder)/\(name).jsonl")
    }

    progress("prompts.jsonl: \(settings.promptCount) requests")
    lines = FileLines()
    for _ in 0..<settings.promptCount {
      lines.add(["prompt": .string(prompts.next().request.prompt)])
    }
    try lines.write(to: folder + "/prompts.jsonl")

    progress("model: a tokenizer of at most \(settings.vocabularySize) tokens, a configuration")
    for file in try settings.model.files(texts: texts, vocabularySize: settings.vocabularySize) {
      try FileLines(text: file.json.indentedText).write(to: "\(folder)/model/\(file.name)")
    }
    try FileLines(text: settings.readme).write(to: folder + "/README.md")
  }

  /// Rows of supervised training that the tokenizer is trained on.
  private static let tokenizerRowCount = 4000
}

/// The requests of a task in index order, without those whose prompt was there before.
private struct DistinctPrompts {
  let task: SyntheticTask
  private var seen: Set<String> = []
  private var index = 0

  init(task: SyntheticTask) { self.task = task }

  mutating func next() -> (index: Int, request: Request) {
    while true {
      let request = task.request(index: index)
      index += 1
      if seen.insert(request.prompt).inserted { return (index - 1, request) }
    }
  }
}

/// The lines of a file that is being made.
private struct FileLines {
  private var bytes: [UInt8] = []

  init() {}

  init(text: String) { bytes = Array(text.utf8) + [UInt8(ascii: "\n")] }

  mutating func add(_ row: JSON) {
    bytes.append(contentsOf: row.text.utf8)
    bytes.append(UInt8(ascii: "\n"))
  }

  func write(to path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
}
