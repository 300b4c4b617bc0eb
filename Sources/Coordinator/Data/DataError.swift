import Checkpoint
import Tokenizer

/// What is wrong with a data file: one sentence with the file, the line and what to do.
public struct DataError: Error, CustomStringConvertible, Sendable {
  /// The sentence.
  public let description: String

  /// An error at a place such as `file:line`.
  init(_ place: String, _ sentence: String) { description = "\(place): \(sentence)" }

  /// An error from its sentence.
  init(_ sentence: String) { description = sentence }

  /// An error of reading a file, whose sentence names it.
  init(_ error: CheckpointError) { description = error.description }

  /// An error of a template, whose sentence names its source.
  init(_ error: TokenizerError) { description = error.description }
}
