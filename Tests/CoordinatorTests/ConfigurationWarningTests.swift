import Testing

@testable import Coordinator

@Suite struct ConfigurationWarningTests {
  @Test(arguments: [
    ([], []),
    (["sail.dpr={fraction: 0.1, response_coefficient: 0.2}"], ["sail.dpr.response_coefficient"]),
    (["sail.dpr={fraction: 0.1, response_coefficient: 0.1}"], []),
    (["sail.dpr={fraction: 0, response_coefficient: 0.2}"], []),
    (["sail.ddp={fraction: 0.1, preference_coefficient: 0}"], ["sail.ddp"]),
    (
      ["sail.dpp={fraction: 0.1, preference_coefficient: 0, response_coefficient: 0}"],
      ["sail.dpp"]
    ),
    (["sail.dpp={fraction: 0.1, preference_coefficient: 0}"], []),
    (["sail.ddp={fraction: 0.1, preference_coefficient: 0, labels: argmax}"], []),
  ])
  func warnings(overrides: [String], keys: [String]) throws {
    let configuration = try RunConfiguration.parse(
      RunFileText.least, name: "run.yaml",
      overrides: ["method=sail", "oracle={rule: r}"] + overrides)
    #expect(configuration.warnings.map { String($0.prefix { $0 != ":" }) } == keys)
  }
}
