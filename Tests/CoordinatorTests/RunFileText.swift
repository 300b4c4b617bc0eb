@testable import Coordinator

/// Run files as texts for tests.
enum RunFileText {
  /// The least that a run file can say.
  static let least = """
    model: models/tiny
    method: dpo
    data: {train: rows.jsonl}
    steps: 10
    output: runs/least

    """

  /// A run file that gives every key a value other than its default.
  static let everything = """
    model: {config: a/config.json, tokenizer: "a b/tokenizer.json", seed: 7}
    method: sail
    reference: models/reference
    data: {train: ["ä.jsonl", {path: "c d.jsonl", weight: 0.5, limit: 9, format: ultrafeedback}],
      eval: {path: b.jsonl, limit: 7}, eval_fraction: 0, split_seed: 43, shuffle: false,
      format: preference, template: human-assistant, max_length: 2048, max_prompt_length: 1024,
      overlong: cut, cache: tokens}
    objective: {loss: sigmoid, beta: 0.25, label_smoothing: 0.1, link: probit, revkl: 1e-3,
      revkl_on: reference}
    sail:
      ddp: {fraction: 0.1, preference_coefficient: 0, labels: argmax}
      dpp: {fraction: 0.2, response_coefficient: 0.3, preference_coefficient: 0.4, labels: sample}
      dpr: {fraction: 0.3, response_coefficient: 0.5, labels: soft}
      t1_estimator: released
      released_scale: 8
      baseline: previous
      importance_weights: true
      term_norms_every: 20
    oracle: {command: [python3, judge.py, "", "--flag=yes", "7"], timeout: 1.5, restarts: 0}
    generation: {temperature: 0.9, top_p: 1, top_k: 0, max_new_tokens: 64,
      missing_eos_penalty: 1, every: 2}
    batch: {pairs: 64, groups: 16}
    optimizer: {name: rmsprop, learning_rate: 1e-5, schedule: linear, warmup_steps: 150,
      weight_decay: 0.01, clip: 0, betas: [0.9, 0.95], eps: 1e-6, momentum: 0.5, alpha: 0.9}
    adapter: {rank: 8, alpha: 32, targets: [q_proj, v_proj], dropout: 0.05}
    precision: bf16
    epochs: 5
    evaluate: {every: 10, pairs: 128, generations: 32}
    samples: {every: 1, rows: all}
    checkpoint: {every: 5, keep: 1}
    reference_cache: cache
    threads: 3
    memory: 6GB
    seed: 18446744073709551615
    output: "off"

    """

  /// Reads a text with overrides.
  static func read(
    _ text: String = least, _ overrides: String...
  ) throws(ConfigurationError) -> RunConfiguration {
    try RunConfiguration.parse(text, name: "run.yaml", overrides: overrides)
  }

  /// The sentence that refuses a text, nil if it is taken.
  static func refusal(_ text: String = least, _ overrides: [String] = []) -> String? {
    do throws(ConfigurationError) {
      _ = try RunConfiguration.parse(text, name: "run.yaml", overrides: overrides)
      return nil
    } catch { return error.description }
  }
}
