import Testing

@testable import Coordinator

@Suite struct ResumeDifferenceTests {
  @Test(arguments: [
    ([], []), (["seed=1"], ["seed"]), (["steps=20"], []),
    (["steps=9"], ["steps (it may grow, not shrink)"]),
    (["steps=", "epochs=1"], ["epochs (the run counts steps)"]),
    (
      ["optimizer.schedule=linear"], ["optimizer.schedule"]
    ),
    (["evaluate.every=1", "samples.rows=all", "checkpoint.keep=9", "threads=2", "output=x"], []),
    (["memory=1GB"], []), (["data.cache=elsewhere", "reference_cache=c"], []),
    (["data.train={path: rows.jsonl}"], []),
    (["data.train={path: rows.jsonl, weight: 2}"], ["data.train"]),
    (["sail.term_norms_every=0"], []), (["sail.term_norms_every=7"], []),
    (
      ["sail.term_norms_every=7", "sail.importance_weights=true", "sail.baseline=none"],
      ["sail.baseline", "sail.importance_weights"]
    ),
    (["model={config: a, tokenizer: b}"], ["model"]), (["adapter={}"], ["adapter"]),
    (
      ["batch.groups=4", "data.train=b", "oracle={rule: r}", "sail.dpp.labels=sample"],
      ["data.train", "sail.dpp.labels", "oracle", "batch.groups"]
    ),
    (["optimizer.betas=[0.9, 0.99]", "reference=r"], ["reference", "optimizer.betas"]),
  ])
  func differences(overrides: [String], expected: [String]) throws {
    let before = try RunFileText.read()
    let after = try RunConfiguration.parse(
      RunFileText.least, name: "run.yaml", overrides: overrides)
    #expect(after.differencesThatMatter(from: before) == expected)
  }

  @Test func theLimitsOfAnOracleCommandMayDiffer() throws {
    let before = try RunFileText.read(RunFileText.least, "oracle={command: [judge]}")
    for (oracle, expected) in [
      ("{command: [judge], timeout: 5, restarts: 0}", []),
      ("{command: [other]}", ["oracle.command"]), ("{rule: r}", ["oracle"]),
    ] {
      let after = try RunFileText.read(RunFileText.least, "oracle=\(oracle)")
      #expect(after.differencesThatMatter(from: before) == expected)
    }
  }

  @Test func aScheduleDependsOnTheLength() throws {
    let linear = try RunFileText.read(RunFileText.least, "optimizer.schedule=linear")
    let longer = try RunFileText.read(RunFileText.least, "optimizer.schedule=linear", "steps=11")
    #expect(
      longer.differencesThatMatter(from: linear) == ["steps (the linear schedule depends on it)"])
    let epochs = try RunFileText.read(RunFileText.everything)
    let more = try RunFileText.read(RunFileText.everything, "epochs=6")
    #expect(
      more.differencesThatMatter(from: epochs) == ["epochs (the linear schedule depends on it)"])
    #expect(epochs.differencesThatMatter(from: more) == ["epochs (it may grow, not shrink)"])
  }

  @Test func theResolvedFileHasNoDifference() throws {
    let before = try RunFileText.read(RunFileText.everything)
    let after = try RunConfiguration.parse(before.yaml, name: "config.yaml")
    #expect(after.differencesThatMatter(from: before).isEmpty)
  }
}
