import Foundation
import JSONText
import Testing

@testable import Worker

/// The pair loss against values of 50 digits' arithmetic (Tests/Fixtures/models/sail_values.json).
@Suite struct ReferenceValueTests {
  /// Cases of both links.
  static func cases() throws -> [JSON] {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Fixtures/models/sail_values.json")
    let json = try JSON(parsing: [UInt8](Data(contentsOf: file)))
    return try #require(json["cases"]?.elements)
  }

  @Test func lossesAndSlopesAreTheReferences() throws {
    var seen: [String: Int] = [:]
    for value in try Self.cases() {
      let link = try #require(value["link"]?.string.flatMap(PreferenceLink.init(rawValue:)))
      let kind = try #require(value["labels"]?.string)
      let u = try #require(value["u"]?.number)
      let smoothing = value["label_smoothing"]?.number ?? 0
      let label: PairLabel
      switch kind {
      case "given": label = .given(firstIsBetter: 1)
      case "sample":
        // The index of the chosen response.
        label = try #require(value["label"]?.integer) == 0 ? .drawnFirst : .drawnSecond
      case "expected": label = .expected
      case "argmax": label = .mostLikely
      case "soft": label = .given(firstIsBetter: try #require(value["probability"]?.number))
      default:
        Issue.record("an unknown kind of label: \(kind)")
        continue
      }
      let objective = PairObjective(
        beta: 1, labelSmoothing: smoothing, link: link,
        preferenceCoefficient: value["preference_coefficient"]?.number ?? 0)
      let result = pairLoss(
        PairLogs(first: 0, second: 0, u: u, beta: 1), label: label, baseline: 0,
        objective: objective)
      func expectNear(_ found: Double, _ name: String) throws {
        let expected = try #require(value[name]?.number)
        #expect(
          abs(found - expected) <= 1e-12 * max(1e-3, abs(expected)),
          "\(name) of \(value.text): found \(found)")
      }
      try expectNear(result.loss, "loss")
      try expectNear(result.dFirst, "derivative_by_u")
      try expectNear(result.value, "V")
      seen["\(link) \(kind)", default: 0] += 1
    }
    #expect(seen["probit given", default: 0] >= 3 && seen["probit expected", default: 0] >= 3)
    #expect(seen["logistic expected", default: 0] >= 3 && seen.count >= 8)
  }

  /// The table of SAIL.md §3 at u = 1, to six digits.
  @Test(arguments: [
    (PreferenceLink.logistic, -0.313262, -0.268941, -0.252092, -0.0393224),
    (.probit, -0.172754, -0.287600, -0.277663, -0.0807344),
  ])
  func tableAtOne(
    _ link: PreferenceLink, f: Double, plain: Double, preferred: Double, expected: Double
  ) {
    func loss(_ label: PairLabel, _ coefficient: Double) -> PairLoss {
      pairLoss(
        PairLogs(first: 0, second: 0, u: 1, beta: 1), label: label, baseline: 0,
        objective: PairObjective(beta: 1, link: link, preferenceCoefficient: coefficient))
    }
    #expect(abs(loss(.given(firstIsBetter: 1), 0).value - f) < 5e-7)
    #expect(abs(loss(.given(firstIsBetter: 1), 0).dFirst - plain) < 5e-7)
    #expect(abs(loss(.drawnFirst, 0.2).dFirst - preferred) < 5e-7)
    #expect(abs(loss(.expected, 0.2).dFirst - expected) < 5e-8)
  }
}
