import JSONText
import Model
import Tensor
import Testing

@testable import Worker

/// Scores against log-probabilities of a worker on the same weights; a token a byte from "a" on.
@Suite struct ImplicitRewardTests {
  private static let beta = 0.7
  private static let endToken: Int32 = 22
  private let weights: [FloatBuffer]
  private let worker: RankWorker
  private let reward: ImplicitReward

  init() throws {
    let json = try JSON(
      parsing: Array(
        """
        {"model_type": "qwen2", "vocab_size": 23, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "tie_word_embeddings": true, "initializer_range": 0.25}
        """.utf8))
    let configuration = try DecoderConfiguration(json: json, source: "tiny")
    let table = ParameterTable(configuration)
    weights = ([1, 2] as [UInt64]).map { seed in
      let buffer = FloatBuffer(count: table.floatCount)
      table.initialize(buffer.base, configuration: configuration, seed: seed)
      return buffer
    }
    let models = weights.map {
      DecoderWeights(configuration: configuration, table: table, base: $0.base)
    }
    let compute = Compute(threadCount: 1)
    worker = RankWorker(policy: models[0], reference: models[1], compute: compute)
    reward = ImplicitReward(
      model: models[0], reference: models[1], beta: Self.beta, endToken: Self.endToken,
      compute: compute, encode: Self.encode)
  }

  private static func encode(_ text: String, _ addSpecialTokens: Bool) -> [Int32] {
    // "#" stands for a text without a token, "$" is the end token's.
    (addSpecialTokens && text != "#" ? [21] : [])
      + text.utf8.filter { $0 != 0x23 }.map { $0 == 0x24 ? endToken : Int32($0) - 97 }
  }

  private func expected(_ prompt: [Int32], _ completion: [Int32]) -> Double {
    let families = [PromptFamily(prompt: prompt, completions: [completion])]
    let logs = (
      worker.logProbabilities(of: families)[0][0],
      worker.referenceLogProbabilities(of: families)[0][0]
    )
    return Self.beta * (logs.0 - logs.1)
  }

  private func scores(_ question: OracleQuestion) throws -> [Double] {
    let answers = try Oracle.model(reward).score([question])
    guard case .scores(let scores) = try #require(answers.first) else {
      Issue.record("\(answers)")
      return []
    }
    return scores
  }

  @Test func scoresAreDifferencesOfLogProbabilities() throws {
    let found = try scores(
      OracleQuestion(
        prompt: "abc", completions: ["def", "gh$", "def", "#"],
        areEnded: [true, true, false, false]))
    let prompt: [Int32] = [21, 0, 1, 2]
    let wanted = [
      expected(prompt, [3, 4, 5, 22]), expected(prompt, [6, 7, 22]), expected(prompt, [3, 4, 5]),
    ]
    try #require(found.count == 4)
    for (found, wanted) in zip(found, wanted) {
      #expect(abs(found - wanted) < 1e-5 * abs(wanted), "\(found) \(wanted)")
    }
    #expect(found[3] == 0)
    #expect(abs(found[0] - found[2]) > 1e-3)
  }

  @Test func equalCompletionsTieAndQuestionsAreIndependent() throws {
    let question = OracleQuestion(prompt: "b", completions: ["ac", "m", "ac", "m$"])
    let found = try scores(question)
    #expect(found[0] == found[2] && found[1] == found[3] && found[0] != found[1])
    let other = OracleQuestion(prompt: "kkkkkk", completions: ["abcdefghijk"])
    let together = reward.score([other, question, other])
    #expect(together == [reward.score([other])[0], .scores(found), reward.score([other])[0]])
  }

  @Test func whatHasNoTokenOrNoFiniteNumberFails() throws {
    let question = OracleQuestion(prompt: "#", completions: ["a"])
    guard case .failed(let reason) = reward.score([question])[0] else {
      Issue.record("scored a prompt without a token")
      return
    }
    #expect(reason.contains("no token for the prompt"))
    weights[0].base[0] = .nan
    let answer = reward.score([OracleQuestion(prompt: "a", completions: ["b"])])[0]
    guard case .failed(let reason) = answer else {
      Issue.record("\(answer)")
      return
    }
    #expect(reason == "the oracle model gave nan for completion 1 of 1")
  }
}
