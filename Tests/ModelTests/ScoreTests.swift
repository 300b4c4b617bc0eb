import JSONText
import Model
import Tensor
import Testing

/// A reward model of each kind of head, with its raw output's mean and deviation.
struct RewardSizes: Sendable, CustomTestStringConvertible {
  var sizes: TinySizes
  var head: String
  var mean = 0.0
  var deviation = 1.0
  var testDescription: String { head + ", " + sizes.testDescription }

  static let all = [
    // Token 3 is padding.
    RewardSizes(
      sizes: TinySizes(
        testDescription: "tied qwen2", isTied: true,
        options: """
          , "architectures": ["Qwen2ForSequenceClassification"], "id2label": {"0": "x"},
          "pad_token_id": 3
          """), head: "score"),
    RewardSizes(
      sizes: TinySizes(
        testDescription: "llama with a bias, normalised", family: "llama",
        options: """
          , "architectures": ["LlamaForScore"], "score_bias": true, "score_dim": 1,
          "do_normalize": true, "mean": [0.5], "var": [4.0]
          """), head: "score_head", mean: 0.5, deviation: 2),
    RewardSizes(
      sizes: TinySizes(
        testDescription: "mistral, window of 3", family: "mistral",
        options: ", \"architectures\": [\"EurusRewardModel\"], \"sliding_window\": 3"),
      head: "regression_head"),
  ]

  func scoreHead() throws -> ScoreHead { try #require(try sizes.configuration().scoreHead) }
}

/// Two families; some end in token 3, one in nothing else, one has an empty completion.
private let families = [
  PromptFamily(
    prompt: [5, 1, 3, 2, 9], completions: [[4, 8, 3, 3], [11, 12, 7, 1, 2, 6]]),
  PromptFamily(prompt: [7, 3], completions: [[3], []]),
  PromptFamily(prompt: [8, 15, 6], completions: [[14]]),
]

@Suite struct ScoreTests {
  @Test func rowsThatAreScored() throws {
    let last = ScoreHead(
      name: "score", hasBias: false, paddingToken: nil, normalization: .none)
    // 5 1 3 2 9 | 4 8 3 3 | 11 12 7 1 2 6 | 7 3 | 3 | | 8 15 6 | 14
    let batch = PackedBatch(families, scoredBy: last)
    #expect(batch.usedRowCount == 22)
    #expect(batch.scoreRows == [8, 14, 17, 16, 21])
    #expect(Array(batch.positions[..<15]) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 9, 10])
    #expect(batch.targets.isEmpty && batch.predictionRows.isEmpty && batch.rowCount == 32)
    let head = ScoreHead.sequenceClassification(paddingToken: 3)
    #expect(PackedBatch(families, scoredBy: head).scoreRows == [6, 14, 15, 15, 21])
    let padding = [PromptFamily(prompt: [3, 3], completions: [[3]])]
    #expect(PackedBatch(padding, scoredBy: head).scoreRows == [0])
  }

  @Test(arguments: RewardSizes.all, Setting.all)
  func scoresAreTheDefinitions(_ reward: RewardSizes, _ setting: Setting) throws {
    let model = try TinyModel(reward.sizes)
    let batch = PackedBatch(families, scoredBy: try reward.scoreHead())
    let found = model.decoder(setting.compute()).scores(batch, keepsActivations: false)
    let wanted = try expected(reward, ReferenceDecoder(model), model.numbers)
    try #require(found.count == wanted.count)
    for (found, wanted) in zip(found, wanted) {
      #expect(abs(found - wanted) <= 1e-5 * max(1, abs(wanted)), "\(found) \(wanted)")
    }
    #expect(abs(wanted[0] - wanted[1]) > 1e-3)
  }

  private func expected(
    _ reward: RewardSizes, _ reference: ReferenceDecoder, _ weights: [Double]
  ) throws -> [Double] {
    let padding = try reward.scoreHead().paddingToken
    return families.flatMap { family in
      family.completions.map { completion in
        let tokens = family.prompt + completion
        let outputs = reference.outputs(tokens, head: reward.head, weights)
        let last = tokens.lastIndex { padding == nil || $0 != padding } ?? 0
        return (outputs[last] - reward.mean) / reward.deviation
      }
    }
  }

  /// Finite differences of Σ c · score in Double, along directions in each tensor.
  @Test(arguments: RewardSizes.all, Setting.oneThread)
  func gradientOfEachTensor(_ reward: RewardSizes, _ setting: Setting) throws {
    let model = try TinyModel(reward.sizes)
    let reference = ReferenceDecoder(model)
    let batch = PackedBatch(families, scoredBy: try reward.scoreHead())
    let coefficients = [0.75, -1.25, 0.5, 2, -0.375]
    let decoder = model.decoder(setting.compute())
    let gradient = gradient(decoder, DecoderBackward(decoder), batch, coefficients)
    for (number, parameter) in model.table.parameters.enumerated() {
      let range = parameter.offset..<parameter.offset + parameter.count
      #expect(gradient[range].contains { $0 != 0 }, "\(parameter.name) has a gradient")
      var random = TestRandom(state: UInt64(400 + number))
      let direction = range.map { _ in random.normal() }
      func value(_ step: Double) throws -> Double {
        var weights = model.numbers
        for (index, part) in zip(range, direction) { weights[index] += step * part }
        return try zip(expected(reward, reference, weights), coefficients)
          .reduce(0) { $0 + $1.0 * $1.1 }
      }
      let difference = (try value(1e-5) - value(-1e-5)) / 2e-5
      let part = gradient[range].map { Double($0) }
      func norm(_ values: [Double]) -> Double {
        values.reduce(0) { $0 + $1 * $1 }.squareRoot()
      }
      let predicted = zip(part, direction).reduce(0) { $0 + $1.0 * $1.1 }
      let error = abs(predicted - difference) / max(1e-30, norm(part) * norm(direction))
      #expect(error < 2e-5, "\(parameter.name): \(error)")
    }
  }

  /// The ordered sum over groups, as of the other gradients.
  @Test(arguments: Setting.all) func addingEqualsAddingAfterwards(_ setting: Setting) throws {
    let reward = RewardSizes.all[1]
    let model = try TinyModel(reward.sizes)
    let decoder = model.decoder(setting.compute())
    let backward = DecoderBackward(decoder)
    let first = PackedBatch(families, scoredBy: try reward.scoreHead())
    let second = PackedBatch(
      [
        PromptFamily(
          prompt: randomTokens(40, below: 37, seed: 3),
          completions: [randomTokens(9, below: 37, seed: 4), randomTokens(70, below: 37, seed: 5)])
      ], scoredBy: try reward.scoreHead())
    let one = gradient(decoder, backward, first, [1, -2, 3, -4, 5])
    let other = gradient(decoder, backward, second, [0.3, -0.7])
    let both = gradient(decoder, backward, second, [0.3, -0.7], from: one)
    expectEqual(bits(both), bits(zip(one, other).map { $0 + $1 }))
  }

  @Test(arguments: RewardSizes.all) func startingAtZero(_ reward: RewardSizes) throws {
    let model = try TinyModel(reward.sizes)
    let batch = PackedBatch(families, scoredBy: try reward.scoreHead())
    let decoder = model.decoder(Compute(threadCount: 2))
    let backward = DecoderBackward(decoder)
    let held = garbage(model.table.parameters, count: model.table.floatCount)
    expectEqual(
      gradient(decoder, backward, batch, [1, -2, 3, -4, 5], from: held, startsAtZero: true),
      gradient(decoder, backward, batch, [1, -2, 3, -4, 5]))
  }

  private func gradient(
    _ decoder: Decoder, _ backward: DecoderBackward, _ batch: PackedBatch,
    _ coefficients: [Double], from start: [Float]? = nil, startsAtZero: Bool = false
  ) -> [Float] {
    _ = decoder.scores(batch, keepsActivations: true)
    var result = start ?? [Float](repeating: 0, count: decoder.weights.trainedFloatCount)
    result.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      backward.scoreBackward(
        batch, coefficients: coefficients, addingTo: base, startsAtZero: startsAtZero)
    }
    return result
  }

  /// A drawn head is that of a model whose weights are all drawn.
  @Test func aDrawnHeadIsKeyed() throws {
    let configuration = try RewardSizes.all[0].sizes.configuration()
    let table = ParameterTable(configuration)
    let (all, head) = (FloatBuffer(count: table.floatCount), FloatBuffer(count: table.floatCount))
    table.initialize(all.base, configuration: configuration, seed: 5)
    initializeHead(table: table, configuration: configuration, seed: 5) { floats, offset in
      for (index, value) in floats.enumerated() { head.base[offset + index] = value }
    }
    #expect(table.headParameters.map { table.parameters[$0].name } == ["score.weight"])
    for index in 0..<table.floatCount {
      #expect(head.base[index] == (index < table.head ? 0 : all.base[index]))
    }
    #expect((0..<16).allSatisfy { head.base[table.head + $0] != 0 })
  }
}

@Suite struct ScoreHeadTests {
  private func configuration(_ members: String, family: String = "llama") throws
    -> DecoderConfiguration
  {
    try TinySizes(testDescription: "", family: family, options: ", " + members).configuration()
  }

  private func refusal(_ members: String, family: String = "llama") throws -> String {
    let error = try #require(throws: ModelError.self) {
      _ = try configuration(members, family: family)
    }
    return error.description
  }

  @Test func headsByClass() throws {
    #expect(try configuration("\"architectures\": [\"LlamaForCausalLM\"]").head == .vocabulary)
    for family in DecoderFamily.all {
      let found = try configuration(
        "\"architectures\": [\"\(family.classPrefix)ForSequenceClassification\"], \"num_labels\": 1",
        family: family.modelType)
      #expect(found.head == .score(.sequenceClassification(paddingToken: nil)))
    }
    let beaver = try configuration("\"architectures\": [\"LlamaForScore\"]")
    #expect(beaver.scoreHead?.hasBias == true && beaver.scoreHead?.name == "score_head")
    let old = try configuration("\"architectures\": [\"LlamaModelForScore\"], \"bias\": false")
    #expect(old.scoreHead?.hasBias == false)
    // A cost is divided only, a critic's output is as it is.
    let normalised = "\"do_normalize\": true, \"mean\": [1.5], \"var\": [2.25]"
    func normalization(_ type: String) throws -> ScoreHead.Normalization? {
      try configuration(
        "\"architectures\": [\"LlamaForScore\"], \"score_type\": \"\(type)\", \(normalised)"
      ).scoreHead?.normalization
    }
    let deviation = 1.5 + 1e-8
    #expect(try normalization("reward") == .init(mean: 1.5, deviation: deviation))
    #expect(try normalization("cost") == .init(mean: 0, deviation: deviation))
    #expect(try normalization("critic") == ScoreHead.Normalization.none)
  }

  @Test(arguments: [
    ("\"architectures\": [\"LlamaForSequenceClassification\"]", "num_labels", "found 2"),
    (
      "\"architectures\": [\"LlamaForSequenceClassification\"], \"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}",
      "must be 1", "found 3"
    ),
    ("\"architectures\": [\"LlamaForScore\"], \"score_dim\": 2", "score_dim", "found 2"),
    ("\"architectures\": [\"LlamaForScore\"], \"do_normalize\": true", "var", "found none"),
    (
      "\"architectures\": [\"LlamaForScore\"], \"do_normalize\": true, \"var\": [0], \"mean\": [0]",
      "var must be above 0", "found 0"
    ),
    (
      "\"architectures\": [\"LlamaForScore\"], \"score_type\": \"advantage\"",
      "score_type \"advantage\"", "\"critic\""
    ),
    (
      "\"architectures\": [\"LlamaForTokenClassification\"]", "LlamaForTokenClassification",
      "\"LlamaForScore\""
    ),
    ("\"architectures\": [\"EurusRewardModel\"]", "EurusRewardModel", "not implemented"),
    (
      "\"architectures\": [\"LlamaForSequenceClassification\"], \"num_labels\": 1, \"pad_token_id\": \"x\"",
      "pad_token_id", "token id"
    ),
  ])
  func refusals(_ members: String, _ first: String, _ second: String) throws {
    let sentence = try refusal(members)
    #expect(sentence.hasPrefix("config.json: "))
    #expect(sentence.contains(first) && sentence.contains(second), "\(sentence)")
  }
}
