import Foundation
import Model
import Tensor
import Testing

@testable import Worker

@Suite struct RewardTests {
  /// −log σ of 0 and of ±1, and a margin that shifts.
  @Test func lossByHand() {
    #expect(abs(rewardLoss(chosen: 2, rejected: 2, margin: 0).loss - 0.693147180559945) < 1e-12)
    #expect(abs(rewardLoss(chosen: 1, rejected: 0, margin: 0).loss - 0.313261687518223) < 1e-12)
    #expect(abs(rewardLoss(chosen: 0, rejected: 0, margin: 1).loss - 1.313261687518223) < 1e-12)
    #expect(rewardLoss(chosen: -2000, rejected: 0, margin: 0).loss == 2000)
  }

  @Test(arguments: [(0.3, -0.2, 0.0), (-1.5, 2.0, 0.75), (4, 1, 5)])
  func slopeIsTheDerivative(_ chosen: Double, _ rejected: Double, _ margin: Double) {
    func loss(_ shift: Double) -> Double {
      rewardLoss(chosen: chosen + shift, rejected: rejected, margin: margin).loss
    }
    let slope = rewardLoss(chosen: chosen, rejected: rejected, margin: margin).slope
    #expect(abs(slope - (loss(1e-5) - loss(-1e-5)) / 2e-5) < 1e-9)
  }

  /// An SGD step by torch on TRL's loss, without and with margins (Tests/Fixtures/README.md).
  @Test(arguments: ["plain", "margin"], [1, 3])
  func gradientIsTorchs(_ name: String, groupSize: Int) throws {
    let folder = fixtureModels + "/rewards/qwen2"
    let step = try json("\(folder)/\(name)_step.json")
    let model = try LoadedWeights(folder)
    let worker = RankWorker(
      policy: model.weights, reference: nil, compute: Compute(threadCount: 1))
    let expectedRows = try #require(step["rows"]?.elements)
    func tokens(_ index: Int, _ key: String) throws -> [Int32] {
      try #require(expectedRows[index][key]?.elements).compactMap(\.integer).map { Int32($0) }
    }
    let rows = try expectedRows.indices.map { index in
      RewardRow(
        index: index, prompt: try tokens(index, "prompt_ids"),
        chosen: try tokens(index, "chosen_ids"), rejected: try tokens(index, "rejected_ids"),
        margin: expectedRows[index]["margin"]?.number ?? 0)
    }
    let gradient = FloatBuffer(count: model.table.floatCount)
    var results: [RewardResult] = []
    for first in stride(from: 0, to: rows.count, by: groupSize) {
      results += worker.rewardGradient(
        Array(rows[first..<min(rows.count, first + groupSize)]), addingTo: gradient.base)
    }
    for (result, expected) in zip(results, expectedRows) {
      let scores = expected["scores"]?.elements?.compactMap(\.number) ?? []
      try #require(scores.count == 2)
      #expect(abs(result.chosen - scores[0]) < 1e-5 && abs(result.rejected - scores[1]) < 1e-5)
      let loss = try #require(expected["loss"]?.number)
      #expect(abs(result.loss - loss) < 1e-5 * max(1, loss))
    }
    let rate = try #require(step["optimizer"]?["learning_rate"]?.number) / Double(rows.count)
    try expectUpdate(
      gradient, rate: rate, isThatOf: "\(name)_step", folder: folder, table: model.table)
  }
}

/// Scores of a reward model as oracle; a token a byte from "a" on.
@Suite struct RewardModelTests {
  private let memory: FloatBuffer
  private let worker: RankWorker
  private let weights: DecoderWeights

  init() throws {
    let configuration = try DecoderConfiguration(
      json: parsed(
        """
        {"model_type": "qwen2", "vocab_size": 23, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "architectures": ["Qwen2ForSequenceClassification"], "num_labels": 1,
         "initializer_range": 0.25}
        """), source: "tiny")
    let table = ParameterTable(configuration)
    memory = FloatBuffer(count: table.floatCount)
    table.initialize(memory.base, configuration: configuration, seed: 1)
    weights = DecoderWeights(configuration: configuration, table: table, base: memory.base)
    worker = RankWorker(policy: weights, reference: nil, compute: Compute(threadCount: 1))
  }

  private func answer(_ question: OracleQuestion, isReversed: Bool = false) throws -> OracleAnswer {
    let model = RewardModel(
      model: weights, isReversed: isReversed, compute: Compute(threadCount: 1)
    ) { prompt, completion, isEnded in
      (prompt + completion).utf8.map { Int32($0) - 97 } + (isEnded ? [22] : [])
    }
    return try #require(try Oracle.reward(model).score([question]).first)
  }

  private func scores(_ question: OracleQuestion, isReversed: Bool = false) throws -> [Double] {
    guard case .scores(let scores) = try answer(question, isReversed: isReversed) else { return [] }
    return scores
  }

  @Test func scoresAreThoseOfTheWholeText() throws {
    let question = OracleQuestion(
      prompt: "abc", completions: ["de", "fgh", "de", "de"],
      areEnded: [false, true, false, true])
    let found = try scores(question)
    let wanted = worker.scores(of: [[0, 1, 2, 3, 4], [0, 1, 2, 5, 6, 7, 22]])
    try #require(found.count == 4)
    #expect(abs(found[0] - wanted[0]) < 1e-6 && abs(found[1] - wanted[1]) < 1e-6)
    // Equal texts are a tie in every bit; an end token makes another text.
    #expect(found[2] == found[0] && found[3] != found[0])
    #expect(try scores(question, isReversed: true) == found.map { -$0 })
    // Nothing else that is asked changes a score.
    let alone = OracleQuestion(prompt: "abc", completions: ["de"], areEnded: [false])
    #expect(try abs(scores(alone)[0] - found[0]) < 1e-6)
  }

  @Test func whatHasNoScoreIsSaid() throws {
    let empty = try answer(
      OracleQuestion(prompt: "", completions: ["a", ""], areEnded: [false, false]))
    guard case .failed(let reason) = empty else {
      Issue.record("\(empty)")
      return
    }
    #expect(reason.contains("no token for completion 2 of 2"), "\(reason)")
    memory.base[0] = .nan
    let broken = try answer(OracleQuestion(prompt: "a", completions: ["b"]))
    guard case .failed(let reason) = broken else {
      Issue.record("\(broken)")
      return
    }
    #expect(reason.contains("gave nan for completion 1 of 1"), "\(reason)")
  }
}
