import JSONText
import Model
import Tensor
import Testing

@testable import Worker

/// Gradients of rows with generated responses against torch.autograd (Tests/Fixtures/README.md).
struct TorchStepTests {
  /// f32 against f32; most of it is the rounding of after − before in the fixture.
  private static let tolerance = 1e-4

  @Test(
    arguments: [
      "dpp", "dpr", "dpr_soft", "dpr_released", "dpp_released", "dpr_weighted", "revkl_reference",
    ], [1, 2])
  func gradientIsTorchs(_ name: String, groupSize: Int) throws {
    let models = fixtureModels
    let step = try json("\(models)/steps/\(name)_step.json")
    let policy = try LoadedWeights("\(models)/\(try #require(step["model"]?.string))")
    let reference = try LoadedWeights("\(models)/\(try #require(step["reference"]?.string))")
    let worker = RankWorker(
      policy: policy.weights, reference: reference.weights, compute: Compute(threadCount: 1))
    let objective = try objective(of: step)

    let expectedRows = try #require(step["rows"]?.elements)
    var rows = try expectedRows.enumerated().map { try row($0.offset, $0.element) }
    let values = try expectedRows.map { try number($0, "V") }
    let baselines = leaveOneOutBaselines(values: values, fallback: 0)
    let references = worker.referenceLogProbabilities(of: rows.map(\.family))
    for index in rows.indices {
      // The released estimator has none, nor have offline rows.
      if expectedRows[index]["baseline"] != nil {
        #expect(isClose(baselines[index], try number(expectedRows[index], "baseline"), 1e-12))
        rows[index].baseline = baselines[index]
      }
      rows[index].referenceFirst = references[index][0]
      rows[index].referenceSecond = references[index][1]
    }

    let gradient = FloatBuffer(count: policy.table.floatCount)
    var results: [PairResult] = []
    for first in stride(from: 0, to: rows.count, by: groupSize) {
      let group = Array(rows[first..<min(rows.count, first + groupSize)])
      results += worker.pairGradient(
        group, objective: { _ in objective },
        reference: objective.divergenceCoefficient > 0
          ? worker.referenceForward(of: group.map(\.family)).rows : nil,
        addingTo: gradient.base)
    }
    for (result, expected) in zip(results, expectedRows) {
      #expect(isClose(result.u, try number(expected, "u"), Self.tolerance))
      #expect(isClose(result.value, try number(expected, "V"), Self.tolerance))
      // The value of the released estimator's term is of no meaning, its derivatives are.
      if objective.responseEstimator == .score {
        #expect(isClose(result.loss, try number(expected, "loss"), Self.tolerance))
      }
      for (key, found) in [("weight", result.weight), ("revkl", result.divergence)]
      where expected[key] != nil {
        #expect(isClose(found, try number(expected, key), Self.tolerance), "\(key)")
      }
      let logs = expected["logps"]?.elements?.compactMap(\.number) ?? []
      try #require(logs.count == 2)
      #expect(isClose(result.first, logs[0], 2e-5))
      #expect(isClose(result.second, logs[1], 2e-5))
    }

    let rate = try number(try #require(step["optimizer"]), "learning_rate") / Double(rows.count)
    try expectUpdate(
      gradient, rate: rate, isThatOf: "\(name)_step", folder: models + "/steps",
      table: policy.table)
  }

  /// What a fixture's settings say; what they leave out is the default.
  private func objective(of step: JSON) throws -> PairObjective {
    var objective = PairObjective(
      beta: try number(step, "beta"),
      responseCoefficient: step["response_coefficient"]?.number ?? 0,
      preferenceCoefficient: step["preference_coefficient"]?.number ?? 0,
      divergenceCoefficient: step["revkl"]?.number ?? 0)
    if step["t1_estimator"]?.string == "released" {
      objective.responseEstimator = .released(scale: step["released_scale"]?.number ?? 1)
    }
    return objective
  }

  private func row(_ index: Int, _ expected: JSON) throws -> PairRow {
    func tokens(_ list: JSON?) throws -> [Int32] {
      let ids = list?.elements?.compactMap(\.integer) ?? []
      try #require(!ids.isEmpty)
      return ids.map { Int32($0) }
    }
    let responses = try #require(expected["response_ids"]?.elements)
    let label: PairLabel =
      if let probability = expected["label"]?.number {
        .given(firstIsBetter: probability)
      } else if let chosen = expected["chosen"]?.integer {
        .given(firstIsBetter: chosen == 0 ? 1 : 0)
      } else {
        .expected
      }
    var row = PairRow(
      index: index, route: .dpr, prompt: try tokens(expected["prompt_ids"]),
      first: try tokens(responses[0]), second: try tokens(responses[1]), label: label)
    row.generated = expected["generation_logps"]?.elements?.compactMap(\.number).reduce(0, +)
    row.referenceResponse = try expected["reference_ids"].map { try tokens($0) }
    return row
  }

  private func number(_ json: JSON, _ key: String) throws -> Double {
    try #require(json[key]?.number, "\(key)")
  }

  private func isClose(_ found: Double, _ expected: Double, _ relative: Double) -> Bool {
    abs(found - expected) <= relative * abs(expected)
  }
}
