import JSONText

/// One line that an oracle command wrote.
struct OracleLine {
  let identifier: Int
  let answer: Answer

  enum Answer {
    case scores([Double])
    case failed(String)
  }

  /// Reads `{"id": n, "scores": [s, …]}` or `{"id": n, "error": "…"}`; unknown keys are ignored.
  ///
  /// - Parameter bytes: the line without its end.
  /// - Throws: `OracleError` with what is wrong, as the end of a sentence about the line.
  init(parsing bytes: [UInt8]) throws(OracleError) {
    let json: JSON
    do throws(JSONError) { json = try JSON(parsing: bytes) } catch {
      throw OracleError("is \(error.description)")
    }
    guard json.members != nil else {
      throw OracleError("must be a JSON object, found \(json.kind)")
    }
    guard let identifier = json["id"]?.integer else {
      throw OracleError(
        "must have the question's whole number as \"id\", found "
          + (json["id"].map { $0.text } ?? "none"))
    }
    self.identifier = identifier
    if let error = json["error"], !error.isNull {
      guard let reason = error.string else {
        throw OracleError("must have a string as \"error\", found \(error.kind)")
      }
      answer = .failed(reason)
      return
    }
    guard let elements = json["scores"]?.elements else {
      throw OracleError(
        "must have an array as \"scores\" or a string as \"error\", found "
          + (json["scores"].map { $0.kind } ?? "neither"))
    }
    var scores: [Double] = []
    for element in elements {
      guard let score = element.number, score.isFinite else {
        throw OracleError("must have finite numbers as \"scores\", found \(element.text)")
      }
      scores.append(score)
    }
    answer = .scores(scores)
  }

  /// The line that asks a question, its end included.
  static func question(_ question: OracleQuestion, identifier: Int) -> [UInt8] {
    let json = JSON.object([
      JSON.Member(key: "id", value: .integer(Int64(identifier))),
      JSON.Member(key: "prompt", value: .string(question.prompt)),
      JSON.Member(key: "completions", value: .array(question.completions.map { .string($0) })),
    ])
    return Array(json.text.utf8) + [UInt8(ascii: "\n")]
  }
}
