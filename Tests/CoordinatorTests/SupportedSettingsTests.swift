import Testing

@testable import Coordinator

@Suite struct SupportedSettingsTests {
  private static let supported = [
    "method=sail", "oracle={command: [judge]}", "sail.ddp={fraction: 0.1, labels: sample}",
    "sail.dpp={fraction: 0.1, labels: expected}", "sail.dpr.fraction=0.1",
  ]

  private func refusal(_ overrides: [String]) throws(ConfigurationError) -> String? {
    let configuration = try RunConfiguration.parse(
      RunFileText.least, name: "run.yaml", overrides: Self.supported + overrides)
    do throws(ConfigurationError) {
      try configuration.checkSupported()
      return nil
    } catch { return error.description }
  }

  @Test(arguments: [
    (["method=reward", "sail=", "adapter.rank=8"], "adapter with method: reward")
  ])
  func refusedByName(overrides: [String], setting: String) throws {
    let sentence = try refusal(overrides) ?? "taken"
    #expect(sentence.hasPrefix("\(setting) is not implemented in this version; "), "\(sentence)")
  }

  @Test(arguments: [
    [], ["precision=bf16"], ["reference_cache=c"], ["memory=6GB"],
    ["oracle={model: x}"], ["generation.missing_eos_penalty=1"],
    ["sail.baseline=none"], ["sail.baseline=previous"],
    ["optimizer.name=sgd", "optimizer.momentum=0.9"],
    ["data.template=plain"], ["data.template=llama3"], ["data.format=ultrafeedback"],
    ["optimizer.schedule=cosine"], ["steps=", "epochs=1.5"],
    ["sail.dpp={fraction: 0.1, labels: argmax, preference_coefficient: 0}"],
    [
      "sail.dpp.response_coefficient=0", "sail.dpr.response_coefficient=0",
      "generation={temperature: 0.7, top_p: 0.9, top_k: 40}",
    ],
    ["objective.loss=ipo", "sail=", "method=dpo"], ["objective.label_smoothing=0.1"],
    ["objective={revkl: 0.1, revkl_on: reference}"], ["sail.dpr.labels=sample"],
    ["sail.dpr.labels=soft"], ["sail.t1_estimator=released", "sail.released_scale=8"],
    ["sail.importance_weights=true", "generation={temperature: 0.9, every: 2}"],
    ["optimizer.name=rmsprop", "optimizer.momentum=0.9"],
    ["method=sft", "sail="], ["method=reward", "sail="],
    ["oracle={model: x, reverse: true, end_token: true}"],
    ["method=dpo", "sail=", "generation.temperature=0.5"],
  ])
  func supported(overrides: [String]) throws {
    #expect(try refusal(overrides) == nil)
  }
}
