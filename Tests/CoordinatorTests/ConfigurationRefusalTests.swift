import Testing

@testable import Coordinator

/// One line of `least` replaced by another text must give one sentence with the place.
@Suite struct ConfigurationRefusalTests {
  private static let head = "model: m\nmethod: dpo\ndata: {train: a}\nsteps: 1\noutput: o\n"

  @Test(arguments: [
    ("batch: {pairs: 3.5}", "run.yaml:6:16: batch.pairs must be a whole number, found 3.5"),
    (
      "batch: {pairs: 1e3}",
      "run.yaml:6:16: batch.pairs must be a whole number, found 1e3; write 1000"
    ),
    (
      "batch: {pairs: \"3\"}",
      "run.yaml:6:16: batch.pairs must be a whole number, found the text \"3\""
    ),
    ("batch: {pairs: 0x10}", "run.yaml:6:16: batch.pairs must be a whole number, found 0x10"),
    ("batch: {pairs: 0}", "run.yaml:6:16: batch.pairs must be at least 1, found 0"),
    (
      "batch: {pairs: -99999999999999999999}",
      "run.yaml:6:16: batch.pairs must be at least 1, found -99999999999999999999"
    ),
    (
      "batch: {pairs: 99999999999999999999}",
      "run.yaml:6:16: batch.pairs must be at most 2147483647, found 99999999999999999999"
    ),
    ("batch: {pairs: [1]}", "run.yaml:6:16: batch.pairs must be a whole number, found a list"),
    (
      "batch: {pairs: }",
      "run.yaml:6:16: batch.pairs must be a whole number, found nothing; give a value or leave out the key"
    ),
    ("batch: 3", "run.yaml:6:8: batch must be a mapping of pairs, groups, found 3"),
    (
      "batch: {pair: 3}",
      "run.yaml:6:9: unknown key batch.pair; the nearest known key is batch.pairs"
    ),
    (
      "objective:\n  beta: .nan", "run.yaml:7:9: objective.beta must be a finite number, found .nan"
    ),
    (
      "objective:\n  beta: -.inf",
      "run.yaml:7:9: objective.beta must be a finite number, found -.inf"
    ),
    (
      "objective:\n  beta: 1e999",
      "run.yaml:7:9: objective.beta must be a finite number, found 1e999"
    ),
    ("objective:\n  beta: 0", "run.yaml:7:9: objective.beta must be above 0, found 0"),
    ("objective:\n  beta: 1_000", "run.yaml:7:9: objective.beta must be a number, found 1_000"),
    (
      "objective:\n  beta: {a: 1}", "run.yaml:7:9: objective.beta must be a number, found a mapping"
    ),
    (
      "objective:\n  loss: dpo",
      "run.yaml:7:9: objective.loss must be one of sigmoid, ipo, ipo-mean, hinge, found dpo"
    ),
    ("precision: fp16", "run.yaml:6:12: precision must be one of f32, bf16, found fp16"),
    (
      "optimizer: {betas: [0.9]}",
      "run.yaml:6:20: optimizer.betas must be a list of two numbers, such as [0.9, 0.999], found a list"
    ),
    (
      "optimizer: {betas: [0.9, 1]}",
      "run.yaml:6:26: optimizer.betas must be at least 0 and below 1, found 1"
    ),
    (
      "seed: -1",
      "run.yaml:6:7: seed must be a whole number from 0 to 18446744073709551615, found -1"
    ),
    ("threads: 0", "run.yaml:6:10: threads must be at least 1, found 0"),
    ("threads: two", "run.yaml:6:10: threads must be a whole number or auto, found two"),
    (
      "samples: {rows: 1.5}", "run.yaml:6:17: samples.rows must be a whole number or all, found 1.5"
    ),
    (
      "generation: {top_p: 0}",
      "run.yaml:6:21: generation.top_p must be above 0 and at most 1, found 0"
    ),
    ("reference: [a]", "run.yaml:6:12: reference must be a folder, found a list"),
    ("reference: \"\"", "run.yaml:6:12: reference must be a folder, found the text \"\""),
    (
      "oracle: {rule: a, model: b}",
      "run.yaml:6:9: oracle must have exactly one of model, command, rule, found model and rule"
    ),
    (
      "oracle: {}", "run.yaml:6:9: oracle must have exactly one of model, command, rule, found none"
    ),
    (
      "oracle: {command: judge}",
      "run.yaml:6:19: oracle.command must be a list of a program and its arguments, found judge"
    ),
    (
      "oracle: {command: [j], timeout: 0}",
      "run.yaml:6:33: oracle.timeout must be above 0, found 0"
    ),
    (
      "oracle: {command: [j], timeout: .inf}",
      "run.yaml:6:33: oracle.timeout must be a finite number, found .inf"
    ),
    (
      "oracle: {command: [j], restarts: -1}",
      "run.yaml:6:34: oracle.restarts must be at least 0, found -1"
    ),
    (
      "oracle: {command: [j], restarts: 1.5}",
      "run.yaml:6:34: oracle.restarts must be a whole number, found 1.5"
    ),
    (
      "oracle: {rule: r, timeout: 3}",
      "run.yaml:6:28: oracle.timeout is a setting of oracle.command, found beside oracle.rule; leave it out"
    ),
    (
      "oracle: {rule: r, reference: m}",
      "run.yaml:6:30: oracle.reference is a setting of oracle.model, found beside oracle.rule; leave it out"
    ),
    (
      "oracle: {command: [j], beta: 1}",
      "run.yaml:6:30: oracle.beta is a setting of oracle.model, found beside oracle.command; leave it out"
    ),
    (
      "oracle: {model: m, beta: 0}", "run.yaml:6:26: oracle.beta must be above 0, found 0"
    ),
    (
      "oracle: {model: m, restarts: 3}",
      "run.yaml:6:30: oracle.restarts is a setting of oracle.command, found beside oracle.model; leave it out"
    ),
    (
      "oracle: {command: []}",
      "run.yaml:6:19: oracle.command must be a list of a program and its arguments, found a list"
    ),
    ("epochs: 1", "run.yaml:6:9: steps and epochs both say how long to train; keep one of them"),
    ("method: sft", "run.yaml:2:1: the key method is written more than once"),
    ("stepz: 3", "run.yaml:6:1: unknown key stepz; the nearest known key is steps"),
    (
      "max_length: 3",
      "run.yaml:6:1: unknown key max_length; the nearest known key is data.max_length"
    ),
    ("Seed: 3", "run.yaml:6:1: unknown key Seed; the nearest known key is seed"),
    ("[a]: 3", "run.yaml:6:1: a key must be a word, not a list or a mapping"),
    (
      "sail: {ddp: {response_coefficient: 1}}",
      "run.yaml:6:14: unknown key sail.ddp.response_coefficient; the nearest known key is sail.dpp.response_coefficient"
    ),
    (
      "---\na: b",
      "run.yaml:6:1: not valid YAML expected a single document in the stream: but found another document"
    ),
  ])
  func oneSentenceWithThePlace(line: String, sentence: String) {
    #expect(RunFileText.refusal(Self.head + line + "\n") == sentence)
  }

  @Test(arguments: [
    ("model", "run.yaml:1:1: the key model is missing; give a Hugging Face folder"),
    ("method", "run.yaml:1:1: the key method is missing; give one of sft, reward, dpo, sail"),
    ("data", "run.yaml:1:1: the key data is missing; give data: {train: rows.jsonl}"),
    ("steps", "run.yaml:1:1: the key steps is missing; give steps or epochs"),
    (
      "output", "run.yaml:1:1: the key output is missing; give a folder to write, such as runs/name"
    ),
  ])
  func requiredKeys(key: String, sentence: String) {
    let lines = Self.head.split(separator: "\n")
    let without = lines.filter { !$0.hasPrefix(key) }.joined(separator: "\n")
    #expect(RunFileText.refusal(without) == sentence)
    let empty = lines.map { $0.hasPrefix(key) ? "\(key):" : $0 }.joined(separator: "\n")
    #expect(RunFileText.refusal(empty) == sentence)
  }

  @Test func requiredKeysOfMappings() {
    let train = RunFileText.refusal(RunFileText.least, ["data={eval: a}"])
    #expect(
      train?.hasSuffix("the key data.train is missing; give the path of a JSONL file") == true)
    let tokenizer = RunFileText.refusal(RunFileText.least, ["model={config: a}"])
    #expect(tokenizer?.contains("the key model.tokenizer is missing") == true)
  }

  @Test(arguments: ["", "\n\n", "# only a remark\n", "---\n", "null\n", "~"])
  func emptyFiles(text: String) {
    #expect(
      RunFileText.refusal(text)
        == "run.yaml: the run file is empty; it needs model, method, data, output")
  }

  @Test(arguments: ["- a", "text", "[1, 2]", "{a: ", "a: b: c", "\ta: b", "a: \u{1}", "*x", "a: !"])
  func noMappingOrNoYAML(text: String) {
    let sentence = RunFileText.refusal(text)
    #expect(
      sentence?.hasPrefix("run.yaml:1:") == true || sentence?.hasPrefix("run.yaml:2:") == true)
    #expect(sentence?.contains("\n") == false)
  }

  @Test func aliasesThatMultiplyAreRefused() {
    var bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for (last, next) in zip("abcdefgh", "bcdefghi") {
      bomb +=
        "\(next): &\(next) [" + Array(repeating: "*\(last)", count: 10).joined(separator: ", ")
      bomb += "]\n"
    }
    #expect(RunFileText.refusal(bomb)?.contains("too many values") == true)
    let deep = "a: " + String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
    #expect(RunFileText.refusal(deep)?.contains("too deep") == true)
  }

  /// Broken files must end in a sentence, never in a trap.
  @Test func mutilatedFilesNeverTrap() {
    let bytes = Array(RunFileText.everything.utf8)
    for end in stride(from: 0, to: bytes.count, by: 7) {
      if let text = String(validating: bytes[..<end], as: UTF8.self) {
        _ = RunFileText.refusal(text)
      }
    }
    let marks = Array("{}[]:,\"'#&*-!|>%@0e.~\n\t ".utf8)
    for index in 0..<400 {
      var changed = bytes
      changed[(index * 7919) % bytes.count] = marks[index % marks.count]
      changed.remove(at: (index * 104_729) % changed.count)
      if let text = String(validating: changed, as: UTF8.self) { _ = RunFileText.refusal(text) }
    }
  }

  @Test(arguments: [
    ("", "", 0), ("steps", "steps", 0), ("stpes", "steps", 1), ("step", "steps", 1),
    ("kitten", "sitting", 3), ("", "abc", 3),
  ])
  func editDistances(first: String, second: String, distance: Int) {
    #expect(ConfigurationKeys.editDistance(first, second) == distance)
    #expect(ConfigurationKeys.editDistance(second, first) == distance)
  }
}
