import Model
import Testing

@testable import Coordinator

@Suite struct MissingEndPenaltyTests {
  @Test func onlyCutCompletionsLose() {
    let completions = [true, false, false].map {
      Completion(tokens: [1], logProbability: -1, drawLogProbability: -1, isEnded: $0)
    }
    #expect(penalized([1, 2, -3], of: completions, by: 1.5) == [1, 0.5, -4.5])
    #expect(penalized([1, 2, -3], of: completions, by: 0) == [1, 2, -3])
  }
}
