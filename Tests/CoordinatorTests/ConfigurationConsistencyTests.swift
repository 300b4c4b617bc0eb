import Testing

@testable import Coordinator

@Suite struct ConfigurationConsistencyTests {
  private static let sail = """
    model: m
    method: sail
    data: {train: a}
    oracle: {rule: length}
    steps: 1
    output: o

    """

  @Test(arguments: [
    (["sail.ddp.fraction=0.5", "sail.dpp.fraction=0.4", "sail.dpr.fraction=0.2"], "add up to 1.1"),
    (["sail.dpr.fraction=0.3", "oracle="], "nobody labels its rows"),
    (["method=dpo", "sail.dpr.fraction=0.3"], "method dpo has no online rows"),
    (["method=sft", "sail.dpp.fraction=0.3"], "method sft has no online rows"),
    (["method=sft", "reference_cache=c"], "method sft has no reference"),
    (["method=reward", "reference_cache=c"], "method reward has no reference"),
    (["batch={pairs: 4, groups: 5}"], "batch.groups (5) must be at most batch.pairs (4)"),
    (["data.eval=b", "data.eval_fraction=0.1"], "both name evaluation rows"),
    (["data.eval={path: b, weight: 2}"], "b has a weight of 2.0"),
    (["data.overlong=cut", "data.max_length=512"], "leaves its completion no room"),
    (["sail.ddp={fraction: 0.1, labels: argmax}"], "must be 0 with labels: argmax"),
    (["sail.dpp={fraction: 0.1, labels: argmax}"], "must be 0 with labels: argmax"),
    (["sail.dpp.fraction=0.1", "generation.top_p=0.9"], "drawn from the whole policy"),
    (["sail.dpr.fraction=0.1", "generation.top_k=5"], "drawn from the whole policy"),
    (["objective.loss=ipo", "sail.ddp.fraction=0.1"], "gives no probability of a label"),
    (
      ["objective.loss=hinge", "sail.dpp={fraction: 0.1, labels: sample}"],
      "gives no probability of a label"
    ),
    (
      [
        "objective.loss=ipo-mean",
        "sail.dpp={fraction: 0.1, labels: argmax, preference_coefficient: 0}",
      ], "sail.dpp.response_coefficient must be 0 with objective.loss: ipo-mean"
    ),
    (
      ["objective.loss=ipo", "sail.dpr.fraction=0.1"],
      "sail.dpr.response_coefficient must be 0 with objective.loss: ipo"
    ),
    (
      ["sail.dpr.fraction=0.1", "generation.temperature=0.9"],
      "generation.temperature: 0.9 draws from another distribution than the policy, on which "
        + "sail.dpr.response_coefficient is biased"
    ),
    (
      ["sail.dpp.fraction=0.1", "generation.temperature=1.1"],
      "sail.dpp.response_coefficient: 0, or sail.importance_weights: true"
    ),
    (
      ["sail.dpp.fraction=0.1", "generation.every=2"],
      "generation.every: 2 trains on completions of older weights, on which "
        + "sail.dpp.response_coefficient is biased"
    ),
    (
      ["sail.dpr.fraction=0.1", "sail.importance_weights=true", "generation.temperature=0"],
      "generation.temperature: 0 draws nothing"
    ),
    (
      ["sail.dpr.fraction=0.1", "sail.t1_estimator=released", "generation.temperature=0"],
      "generation.temperature: 0 draws nothing"
    ),
    (
      ["sail.dpr.fraction=0.1", "sail.t1_estimator=released", "generation.top_k=5"],
      "drawn from the whole policy"
    ),
    (
      [
        "sail.dpr={fraction: 0.1, response_coefficient: 0}", "sail.importance_weights=true",
        "generation.top_p=0.9",
      ], "generation.top_p leaves out tokens, but sail.importance_weights needs"
    ),
    (
      [
        "sail.dpr={fraction: 0.1, response_coefficient: 0}", "sail.importance_weights=true",
        "generation.temperature=0",
      ], "generation.temperature: 0 draws nothing, but sail.importance_weights needs"
    ),
    (
      ["method=dpo", "objective={loss: ipo, link: probit}"],
      "objective.link: probit has no meaning with objective.loss: ipo"
    ),
    (
      [
        "objective={loss: hinge, link: probit}",
        "sail.dpr={fraction: 0.1, response_coefficient: 0}",
      ], "objective.link: probit has no meaning with objective.loss: hinge"
    ),
    (
      ["objective.revkl=0.1", "sail.ddp.fraction=0.3", "sail.dpr.fraction=0.7"],
      "objective.revkl is taken on offline rows"
    ),
    (
      ["objective={revkl: 0.1, revkl_on: reference}", "sail.dpp.fraction=1"],
      "objective.revkl is taken on offline rows"
    ),
  ])
  func refused(overrides: [String], reason: String) {
    let sentence = RunFileText.refusal(Self.sail, overrides) ?? "taken"
    #expect(sentence.contains(reason), "\(sentence)")
  }

  @Test(arguments: [
    ["sail.ddp.fraction=0.1", "sail.dpp.fraction=0.2", "sail.dpr.fraction=0.7"],
    ["sail.ddp={fraction: 0.1, labels: argmax, preference_coefficient: 0}"],
    ["sail.ddp={fraction: 0, labels: argmax}"],
    ["sail.dpr={fraction: 1, response_coefficient: 0}", "generation={top_p: 0.9, top_k: 5}"],
    ["sail.dpr={fraction: 1, response_coefficient: 0}", "objective.loss=ipo"],
    ["method=dpo", "objective.loss=hinge", "generation.top_p=0.5"],
    ["data.max_length=64"],
    ["batch={pairs: 4, groups: 4}"],
    ["data.eval_fraction=0.1"],
    [
      "sail.dpr.fraction=0.1", "sail.importance_weights=true",
      "generation={temperature: 0.9, every: 2}",
    ],
    [
      "sail.dpr.fraction=0.1", "sail.t1_estimator=released",
      "generation={temperature: 0.9, every: 2}",
    ],
    [
      "sail.dpp={fraction: 0.1, response_coefficient: 0}",
      "sail.dpr={fraction: 0.1, response_coefficient: 0}",
      "generation={temperature: 0.9, every: 2}",
    ],
    // Greedy completions and cut distributions train where no term is through the responses.
    ["sail.dpr={fraction: 1, response_coefficient: 0}", "generation.temperature=0"],
    // Fractions of 0 are not looked at, nor are other methods.
    ["sail.ddp.fraction=0.1", "generation={temperature: 0.9, every: 2}"],
    ["method=dpo", "sail.importance_weights=true", "generation={temperature: 0, top_k: 4}"],
    // The link turns scores into probabilities there.
    [
      "objective={loss: ipo, link: probit}",
      "sail.dpr={fraction: 0.1, response_coefficient: 0, labels: soft}",
    ],
    ["objective.link=probit", "sail.ddp.fraction=0.5", "sail.dpr.fraction=0.5"],
    ["objective.revkl=0.1", "sail.ddp.fraction=0.3", "sail.dpr.fraction=0.6"],
    ["method=dpo", "objective.revkl=0.1"],
  ])
  func taken(overrides: [String]) {
    #expect(RunFileText.refusal(Self.sail, overrides) == nil)
  }

  @Test func theErrorNamesTheLine() {
    let text = Self.sail + "sail:\n  dpr: {fraction: 0.1}\ngeneration:\n  top_k: 3\n"
    #expect(RunFileText.refusal(text)?.hasPrefix("run.yaml:10:10: generation.top_k") == true)
    let sum = Self.sail + "sail:\n  ddp: {fraction: 0.7}\n  dpp: {fraction: 0.7}\n"
    #expect(RunFileText.refusal(sum)?.hasPrefix("run.yaml:8:3: the fractions") == true)
  }
}
