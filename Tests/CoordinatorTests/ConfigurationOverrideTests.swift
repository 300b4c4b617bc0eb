import Testing

@testable import Coordinator

@Suite struct ConfigurationOverrideTests {
  @Test func valuesAreSet() throws {
    let changed = try RunFileText.read(
      RunFileText.least, "batch.pairs=64", "data.train=x=y.jsonl", "objective={beta: 0.5}",
      "model={config: c, tokenizer: t}", "optimizer.betas=[0.5, 0.6]", "reference=r", "steps=20")
    #expect(changed.batch.pairs == 64 && changed.batch.groups == 8)
    #expect(changed.data.train == [.init(path: "x=y.jsonl")] && changed.objective.beta == 0.5)
    #expect(changed.model == .random(config: "c", tokenizer: "t", seed: 1))
    #expect(changed.optimizer.firstBeta == 0.5 && changed.optimizer.secondBeta == 0.6)
    #expect(changed.reference == "r" && changed.length == .steps(20))
  }

  @Test func theLastOneWins() throws {
    #expect(try RunFileText.read(RunFileText.least, "seed=1", "seed=2").seed == 2)
  }

  @Test func nothingRemovesAnOptionalValue() throws {
    let changed = try RunFileText.read(
      RunFileText.everything, "oracle=null", "adapter=", "sail.dpr.fraction=0", "epochs=",
      "steps=5", "data.eval=~")
    #expect(changed.oracle == nil && changed.adapter == nil && changed.data.eval.isEmpty)
    #expect(changed.length == .steps(5))
  }

  @Test func oneKindOfOracleCanReplaceAnother() throws {
    let changed = try RunFileText.read(
      RunFileText.everything, "oracle.command=", "oracle.timeout=", "oracle.restarts=",
      "oracle.rule=length")
    let whole = try RunFileText.read(RunFileText.everything, "oracle={rule: length}")
    #expect(changed.oracle == .rule("length") && whole.oracle == .rule("length"))
  }

  @Test(arguments: [
    (
      "batch.pair=3",
      "--set batch.pair=3: unknown key batch.pair; the nearest known key is batch.pairs"
    ),
    ("pairs=3", "--set pairs=3: unknown key pairs; the nearest known key is batch.pairs"),
    ("bacth.pairs=3", "--set bacth.pairs=3: unknown key bacth; the nearest known key is batch"),
    ("batch.pairs", "--set batch.pairs: write key.path=value; there is no \"=\""),
    ("=3", "--set =3: a key is missing before \"=\"; write key.path=value"),
    ("batch.=3", "--set batch.=3: a key is missing before \"=\"; write key.path=value"),
    ("batch.pairs=many", "--set batch.pairs=many: batch.pairs must be a whole number, found many"),
    (
      "batch.pairs=",
      "--set batch.pairs=: batch.pairs must be a whole number, found nothing; give a value or leave out the key"
    ),
    ("steps=1e3", "--set steps=1e3: steps must be a whole number, found 1e3; write 1000"),
    (
      "model.seed=3",
      "--set model.seed=3: seed cannot be set in models/tiny, which run.yaml:1:8 gives instead of a mapping"
    ),
    (
      "batch.pairs.x=3",
      "--set batch.pairs.x=3: batch.pairs must be a whole number, found a mapping"
    ),
    (
      "batch.pairs=4",
      "--set batch.pairs=4: batch.groups (8) must be at most batch.pairs (4), as every work group needs a row"
    ),
  ])
  func refusals(override: String, sentence: String) {
    #expect(RunFileText.refusal(RunFileText.least, [override]) == sentence)
  }

  @Test func aValueThatIsNotYAML() {
    let sentence = RunFileText.refusal(RunFileText.least, ["data={train: "])
    #expect(sentence?.hasPrefix("--set data={train: : not valid YAML") == true)
  }
}
