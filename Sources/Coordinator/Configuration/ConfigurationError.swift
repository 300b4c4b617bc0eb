/// What is wrong with a run file or an override: one sentence with the place and what to do.
public struct ConfigurationError: Error, CustomStringConvertible, Sendable {
  /// The sentence, which starts with `file:line:column` where there is one.
  public let description: String

  /// An error from its sentence.
  public init(_ description: String) { self.description = description }

  /// An error at a place.
  init(_ place: String, _ sentence: String) { description = "\(place): \(sentence)" }
}
