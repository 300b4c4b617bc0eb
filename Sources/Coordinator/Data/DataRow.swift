import Tokenizer

/// What a line says: a prompt with its responses.
public struct DataRow: Sendable {
  /// `file:line`.
  public let place: String
  /// What is answered.
  public var prompt: DataText
  /// The preferred response, then the other; one completion; or none.
  public var responses: [DataText]
  /// By how much the rewards should differ, where the data says so (`margin`).
  public var margin: Double?
  /// The part of a benchmark that the row belongs to.
  public var subset: String?
  /// Whether the data prefers neither response; there may be none then.
  public var isTie = false

  init(_ line: DataLine, prompt: DataText, responses: [DataText]) {
    place = line.place
    self.prompt = prompt
    self.responses = responses
  }

  /// Takes what both responses begin with as the prompt (TRL's `extract_prompt`).
  ///
  /// Strings are compared by code points and parted before a space that ends the common part;
  /// conversations by messages. Where one response is the beginning of the other, its last code point
  /// or message stays a response.
  mutating func extractPrompt() throws(DataError) {
    switch (responses.first, responses.last) {
    case (.text(let chosen), .text(let rejected)):
      let (first, second) = (Array(chosen.unicodeScalars), Array(rejected.unicodeScalars))
      var count = commonCount(first, second, ==)
      let isDifferenceFound = count < min(first.count, second.count)
      if !isDifferenceFound { count -= 1 } else if count > 0, first[count - 1] == " " { count -= 1 }
      guard count > 0 else { throw noCommonBeginning }
      func text(_ scalars: some Sequence<Unicode.Scalar>) -> DataText {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return .text(String(view))
      }
      prompt = text(first[..<count])
      responses = [text(first[count...]), text(second[count...])]
    case (.conversation(let chosen), .conversation(let rejected)):
      let common = commonCount(chosen, rejected) { $0.isIdentical(to: $1) }
      let count = min(common, min(chosen.count, rejected.count) - 1)
      guard count > 0 else { throw noCommonBeginning }
      prompt = .conversation(Array(chosen[..<count]))
      responses = [
        .conversation(Array(chosen[count...])), .conversation(Array(rejected[count...])),
      ]
    default: preconditionFailure("a prompt is taken from two responses of one kind")
    }
  }

  private var noCommonBeginning: DataError {
    DataError(
      place,
      "there is no prompt, and \"chosen\" and \"rejected\" do not begin alike; give a \"prompt\" "
        + "or two texts that both begin with it")
  }
}

/// How many elements two arrays have in common from their beginning.
private func commonCount<Element>(
  _ first: [Element], _ second: [Element], _ isSame: (Element, Element) -> Bool
) -> Int {
  zip(first, second).prefix { isSame($0, $1) }.count
}
