/// Questions of one call: what is still to be sent, and what was answered.
struct OpenQuestions {
  private let questions: [OracleQuestion]
  private let firstIdentifier: Int
  private var isAsked: [Bool]
  private var next = 0
  private(set) var answers: [OracleAnswer?]
  /// Questions without an answer.
  private(set) var count: Int

  init(_ questions: [OracleQuestion], firstIdentifier: Int) {
    self.questions = questions
    self.firstIdentifier = firstIdentifier
    isAsked = questions.map { _ in false }
    answers = questions.map { _ in nil }
    count = questions.count
  }

  /// The line of the next question to send, nil if all were sent.
  mutating func nextLine() -> [UInt8]? {
    while next < questions.count, answers[next] != nil { next += 1 }
    guard next < questions.count else { return nil }
    defer { next += 1 }
    isAsked[next] = true
    return OracleLine.question(questions[next], identifier: firstIdentifier + next)
  }

  /// What was sent without an answer is sent again.
  mutating func askAgain() {
    next = 0
    isAsked = answers.map { $0 != nil }
  }

  mutating func answer(_ line: OracleLine) throws(OracleError) {
    let (index, overflow) = line.identifier.subtractingReportingOverflow(firstIdentifier)
    guard !overflow, questions.indices.contains(index), isAsked[index] else {
      throw OracleError("answers a question that was not asked, \"id\" \(line.identifier)")
    }
    guard answers[index] == nil else {
      throw OracleError("answers question \(line.identifier) a second time")
    }
    switch line.answer {
    case .failed(let reason): answers[index] = .failed(reason)
    case .scores(let scores):
      let expected = questions[index].completions.count
      guard scores.count == expected else {
        throw OracleError(
          "must have one score for each of the question's \(expected) completions, found "
            + "\(scores.count)")
      }
      answers[index] = .scores(scores)
    }
    count -= 1
  }
}
