import Foundation
import Testing

@testable import Coordinator

@Suite struct RunConfigurationTests {
  @Test func defaultsAreThoseOfTheContract() throws {
    // The contract's listing with its values; the lines marked "example" as in `least`.
    let listing = """
      model: models/tiny
      method: dpo
      data: {train: rows.jsonl, eval_fraction: 0, split_seed: 42, shuffle: true, format: auto,
        template: auto, max_length: 1024, max_prompt_length: 512, overlong: drop,
        cache: auto}
      objective: {loss: sigmoid, beta: 0.1, label_smoothing: 0, link: logistic, revkl: 0,
        revkl_on: dataset}
      sail:
        ddp: {fraction: 0, preference_coefficient: 0.2, labels: expected}
        dpp: {fraction: 0, response_coefficient: 0.01, preference_coefficient: 0.2,
          labels: expected}
        dpr: {fraction: 0, response_coefficient: 0.01, labels: argmax}
        t1_estimator: score
        released_scale: 1
        baseline: leave-one-out
        importance_weights: false
        term_norms_every: 100
      generation: {temperature: 1.0, top_p: 1.0, top_k: 0, max_new_tokens: 128,
        missing_eos_penalty: 0, every: 1}
      batch: {pairs: 32, groups: 8}
      optimizer: {name: adamw, learning_rate: 1e-6, schedule: constant, warmup_steps: 0,
        weight_decay: 0, clip: 1.0, betas: [0.9, 0.999], eps: 1e-8, momentum: 0, alpha: 0.99}
      precision: f32
      steps: 10
      evaluate: {every: 50, pairs: 256, generations: 64}
      samples: {every: 50, rows: 8}
      checkpoint: {every: 50, keep: 3}
      reference_cache: off
      threads: auto
      memory: auto
      seed: 0
      output: runs/least
      """
    #expect(try RunFileText.read(listing) == RunFileText.read())
    let least = try RunFileText.read()
    #expect(least.model == .folder("models/tiny") && least.method == .dpo)
    #expect(least.reference == nil && least.oracle == nil && least.adapter == nil)
    #expect(least.length == .steps(10) && least.batch.pairs == 32 && least.optimizer.eps == 1e-8)
    #expect(least.sail.dpp.responseCoefficient == 0.01 && least.data.eval.isEmpty)
  }

  @Test func everyKeyIsRead() throws {
    let all = try RunFileText.read(RunFileText.everything)
    #expect(
      all.model == .random(config: "a/config.json", tokenizer: "a b/tokenizer.json", seed: 7))
    #expect(
      all.data.train == [
        .init(path: "ä.jsonl"),
        .init(path: "c d.jsonl", weight: 0.5, limit: 9, format: .ultraFeedback),
      ] && all.data.eval == [.init(path: "b.jsonl", limit: 7)]
        && all.data.template == .humanAssistant)
    var command = RunConfiguration.OracleCommand(
      words: ["python3", "judge.py", "", "--flag=yes", "7"])
    command.timeoutSeconds = 1.5
    command.restartLimit = 0
    #expect(all.oracle == .command(command))
    #expect(all.adapter?.targets == .named(["q_proj", "v_proj"]))
    #expect(all.length == .epochs(5) && all.samples.rows == .all && all.threads == .count(3))
    #expect(all.memory == .bytes(6_000_000_000) && all.seed == .max && all.output == "off")
    #expect(all.referenceCache == .folder("cache") && all.optimizer.secondBeta == 0.95)
    // No value is its default, so no key can have been skipped.
    guard case .mapping(let mine) = all.resolved,
      case .mapping(let plain) = try RunFileText.read().resolved
    else {
      Issue.record("a resolved run file is a mapping")
      return
    }
    let equal = ["data.eval_fraction", "objective.loss", "generation.top_p", "generation.top_k"]
    let defaults = leaves(plain)
    var compared = 0
    for own in leaves(mine) {
      guard let other = defaults.first(where: { $0.path == own.path }) else { continue }
      compared += 1
      #expect((own.text == other.text) == equal.contains(own.path), "\(own.path)")
    }
    #expect(compared == defaults.count - 3)  // All but model, oracle and adapter.
  }

  /// As a resumed run reads it; of an adapter that names little, too.
  @Test(arguments: [
    RunFileText.least, RunFileText.everything, RunFileText.least + "adapter: {rank: 4}\n",
  ])
  func resolvedFileReadsBackEqual(text: String) throws {
    let first = try RunFileText.read(text)
    let second = try RunConfiguration.parse(first.yaml, name: "config.yaml")
    #expect(first == second)
    #expect(first.yaml == second.yaml)
  }

  @Test func resolvedFileHasEveryKeyInOrder() throws {
    let text = try RunFileText.read(
      RunFileText.everything, "oracle={rule: length}"
    ).yaml
    let keys = text.split(separator: "\n").filter { !$0.hasPrefix(" ") }
      .map { String($0.prefix { $0 != ":" }) }
    #expect(keys == ConfigurationKeys.keys(of: ""))
    // Model and oracle are one of several mappings.
    for section in ConfigurationKeys.sections where !["oracle", "model"].contains(section.path) {
      for key in section.keys { #expect(text.contains("\(key):"), "\(section.path).\(key)") }
    }
  }

  @Test func aModelIsAFolderAnAdapterOrRandom() throws {
    for (written, model) in [
      ("model=a", RunConfiguration.ModelSource.folder("a")),
      ("model={adapter: a, base: b}", .folder("a", base: "b")),
      ("model={adapter: a}", .folder("a")),
      ("model={config: c, tokenizer: t}", .random(config: "c", tokenizer: "t", seed: 1)),
    ] {
      let read = try RunFileText.read(RunFileText.least, written)
      #expect(read.model == model)
      let again = try RunConfiguration.parse(read.yaml, name: "config.yaml")
      #expect(again.model == model)
    }
    for wrong in [
      "model={adapter: a, seed: 3}", "model={base: b}", "model={adapter: a, config: c}",
    ] {
      #expect(throws: ConfigurationError.self) { try RunFileText.read(RunFileText.least, wrong) }
    }
  }

  @Test(arguments: [
    "a b", "", "null", "~", "7", "1e3", "true", "#x", "a: b", "\"q\"", "\\", "tab\tnewline\n",
    "\u{7F}\u{85}\u{2028}\u{FEFF}", "é/e\u{301}", "😀", "- x", "'", "&a", "*a", "runs/name-1.0",
    "[a]", "{a: b}", "off", "auto", "%", " leading",
  ])
  func anyTextSurvivesTheResolvedFile(text: String) throws {
    var configuration = try RunFileText.read()
    configuration.oracle = .command(.init(words: ["program", text]))
    let back = try RunConfiguration.parse(configuration.yaml, name: "config.yaml")
    guard case .command(let command) = back.oracle else {
      Issue.record("no command")
      return
    }
    #expect(Array(command.words[1].utf8) == Array(text.utf8))
  }

  @Test(arguments: [
    1e-6, .leastNonzeroMagnitude, 1.7976931348623157e308, 0.1, 100, 1e16, 123456789.123, 1e22,
  ])
  func numbersSurviveTheResolvedFile(value: Double) throws {
    var configuration = try RunFileText.read()
    configuration.objective.beta = value
    #expect(
      try RunConfiguration.parse(configuration.yaml, name: "x").objective.beta == value)
    guard case .scalar(let text) = ResolvedValue.number(value) else { return }
    #expect(text.contains("."))  // YAML 1.1 readers take 1e-06 for a text.
  }

  @Test func anOracleModelHasAReferenceAndBeta() throws {
    func read(_ oracle: String) throws -> RunConfiguration {
      try RunFileText.read(RunFileText.least, "objective.beta=0.25", "oracle=\(oracle)")
    }
    let plain = try read("{model: m}")
    #expect(plain.oracle == .model(.init(folder: "m", reference: nil, beta: 0.25)))
    let full = try read("{model: m, reference: r, beta: 2}")
    #expect(full.oracle == .model(.init(folder: "m", reference: "r", beta: 2)))
    for configuration in [plain, full] {
      #expect(try RunConfiguration.parse(configuration.yaml, name: "x") == configuration)
    }
    #expect(full.differencesThatMatter(from: plain) == ["oracle.reference", "oracle.beta"])
  }

  @Test func anOracleCommandHasLimits() throws {
    let plain = try RunFileText.read(RunFileText.least, "oracle={command: [judge]}")
    #expect(plain.oracle == .command(.init(words: ["judge"])))
    guard case .command(let command) = plain.oracle else { return }
    #expect(command.timeoutSeconds == 60 && command.restartLimit == 3)
  }

  @Test(arguments: ["5B", "1KB", "1500KB", "6GB", "2TB"])
  func sizesSurviveTheResolvedFile(size: String) throws {
    let configuration = try RunFileText.read(RunFileText.least, "memory=\(size)")
    #expect(configuration.memory.text == size)
  }

  @Test func sizesHaveBinaryAndBrokenUnits() throws {
    #expect(try RunFileText.read(RunFileText.least, "memory=1.5 GiB").memory == .bytes(3 << 29))
    #expect(try RunFileText.read(RunFileText.least, "memory=0.5KB").memory == .bytes(500))
    for size in ["6", "GB", "-1GB", "0GB", "nanGB", "1e30TB", "[1]", "0x1GB"] {
      #expect(RunFileText.refusal(RunFileText.least, ["memory=\(size)"]) != nil, "\(size)")
    }
  }

  @Test func filesAreRead() throws {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("run-configuration-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("run.yaml").path
    try Data(("\u{FEFF}" + RunFileText.least.replacing("\n", with: "\r\n")).utf8)
      .write(to: URL(fileURLWithPath: path))
    #expect(try RunConfiguration.load(path: path) == RunFileText.read())
    #expect(
      try RunConfiguration.load(path: path, overrides: ["seed=3"]).seed == 3)

    func refusal(_ path: String) -> String {
      do throws(ConfigurationError) {
        _ = try RunConfiguration.load(path: path)
        return ""
      } catch { return error.description }
    }
    #expect(refusal(folder.path) == "\(folder.path): this is a folder; --config wants a YAML file")
    #expect(refusal("\(path).x").contains("there is no such run file"))
    try Data([0x6D, 0xFF, 0xFE]).write(to: URL(fileURLWithPath: path))
    #expect(refusal(path).contains("not UTF-8"))
  }

  private func leaves(
    _ entries: [ResolvedValue.Entry], _ prefix: String = ""
  ) -> [(path: String, text: String)] {
    entries.flatMap { entry -> [(path: String, text: String)] in
      let path = prefix + entry.key
      if case .mapping(let inner) = entry.value { return leaves(inner, path + ".") }
      return [(path, entry.value.yaml())]
    }
  }
}
