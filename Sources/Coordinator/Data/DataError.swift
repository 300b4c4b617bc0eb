/// What is wrong with a data file: one sentence with the file, the line and what to do.
public struct DataError: Error, CustomStringConvertible, Sendable {
  /// The sentence.
  public let description: String

  /// An error at a place such as `file:line`.
  init(_ place: String, _ sentence: String) { description = "\(place): \(sentence)" }
}
