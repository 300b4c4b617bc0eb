import ArgumentParser
import Coordinator

/// How a command that uses a model computes.
struct ComputeArguments: ParsableArguments {
  @Option(help: "Threads a rank; all that it may use if absent.")
  var threads: Int?
  @Option(
    help: "Number type of matrix products: f32, or bf16 where the CPU has instructions for it.")
  var precision = RunConfiguration.Precision.f32

  func validate() throws {
    try checkPositive("--threads", threads)
  }

  var options: ComputeOptions { ComputeOptions(threads: threads, precision: precision) }
}

extension RunConfiguration.Precision: ExpressibleByArgument {}

private func checkPositive(_ name: String, _ value: Int?) throws {
  if let value, value < 1 { throw ValidationError("\(name) must be at least 1, found \(value)") }
}

private func checkTemperature(_ value: Double) throws {
  guard value >= 0, value.isFinite else {
    throw ValidationError("--temperature must be 0 or more, found \(value)")
  }
}

struct Score: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes the log-probabilities of preference pairs under a model.",
    discussion: """
      Example:
        sail score --model Qwen2.5-0.5B --data pairs.jsonl --out scores.jsonl
      """)

  @Option(help: "Hugging Face model folder, or PEFT adapter folder.")
  var model: String
  @Option(help: "Folder of an adapter's base model; the one that it names if absent.")
  var base: String?
  @Option(help: "Preference pairs (JSONL: prompt, chosen, rejected, or another form).")
  var data: String
  @OptionGroup
  var reading: ReadingArguments
  @Option(help: "File to write, one line a pair.")
  var out: String
  @Option(help: "Reference model folder, for ref_logps.")
  var reference: String?
  @OptionGroup
  var compute: ComputeArguments

  func run() {
    let options = ScoreOptions(
      model: model, base: base, data: reading.options(data), output: out, reference: reference,
      compute: compute.options)
    runOnAllRanks { try score(options, communicator: $0) }
  }
}

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Generates completions of prompts.",
    discussion: """
      Example:
        sail generate --model Qwen2.5-0.5B --data prompts.jsonl --out answers.jsonl --samples 2
      """)

  @Option(help: "Hugging Face model folder, or PEFT adapter folder.")
  var model: String
  @Option(help: "Folder of an adapter's base model; the one that it names if absent.")
  var base: String?
  @Option(help: "Prompts (JSONL lines with a prompt, or another form).")
  var data: String
  @OptionGroup
  var reading: ReadingArguments
  @Option(help: "File to write, one line a prompt.")
  var out: String
  @Option(help: "Completions a prompt.")
  var samples = 1
  @Option(help: "Most tokens of a completion.")
  var maxNewTokens = 128
  @Option(help: "Temperature; 0 is greedy.")
  var temperature = 1.0
  @Option(help: "Smallest set of tokens whose probabilities sum to at least this.")
  var topP = 1.0
  @Option(help: "Number of most likely tokens to choose from; 0 is all.")
  var topK = 0
  @Option(help: "Seed of the draws.")
  var seed: UInt64 = 0
  @OptionGroup
  var compute: ComputeArguments

  func validate() throws {
    try checkPositive("--samples", samples)
    try checkPositive("--max-new-tokens", maxNewTokens)
    try checkTemperature(temperature)
    guard topP > 0, topP <= 1 else {
      throw ValidationError("--top-p must be above 0 and at most 1, found \(topP)")
    }
    guard topK >= 0 else { throw ValidationError("--top-k must be 0 or more, found \(topK)") }
  }

  func run() {
    let options = GenerateOptions(
      model: model, base: base, data: reading.options(data), output: out, samples: samples,
      maxNewTokens: maxNewTokens,
      temperature: temperature, topP: topP, topK: topK, seed: seed, compute: compute.options)
    runOnAllRanks { try generate(options, communicator: $0) }
  }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Evaluates a model: margin, accuracy, KL, score and win rate, with 95 % intervals.",
    discussion: """
      Example, judged by a program that reads and writes JSON lines:
        sail evaluate --model runs/dpo/model --reference runs/sft/model --data eval.jsonl \\
          --judge "python3 judge.py" --against sft=runs/sft-evaluation/generations.jsonl \\
          --out runs/dpo-evaluation
      Judged by another model's implicit reward, β · log π/π_reference of the completion:
        sail evaluate --model runs/dpo/model --data eval.jsonl --judge model:judge-dpo \\
          --judge-reference judge-sft --out runs/dpo-evaluation
      """)

  @Option(
    help:
      "Hugging Face model folder, or PEFT adapter folder; of a reward model its accuracy on the pairs."
  )
  var model: String
  @Option(help: "Folder of an adapter's base model; the one that it names if absent.")
  var base: String?
  @Option(help: "Held-out preference pairs (JSONL: prompt, chosen, rejected, or another form).")
  var data: String
  @OptionGroup
  var reading: ReadingArguments
  @Option(help: "Reference model folder, for margins, accuracy and KL.")
  var reference: String?
  @Option(
    help:
      "Reward model folder, whose mean score of the generations is reported; it judges if --judge is absent."
  )
  var reward: String?
  @Flag(help: "Less is better: takes the opposite of the reward model's output, as of a cost.")
  var reverse = false
  @Flag(help: "Puts the reward model's end token behind responses that ended by themselves.")
  var endToken = false
  @Option(
    help:
      "Who scores generations: rule:NAME, model:DIR (a reward model, or a causal model's implicit reward), or a command with its arguments."
  )
  var judge: String?
  @Option(help: "Reference folder of --judge model:DIR; the one of --reference if absent.")
  var judgeReference: String?
  @Option(
    parsing: .singleValue,
    help: ArgumentHelp(
      "Generations of another model on the same prompts, to win against.",
      valueName: "name=generations.jsonl"))
  var against: [String] = []
  @Option(help: "Folder to write.")
  var out: String
  @Option(help: "β of the implicit reward.")
  var beta = 0.1
  @Option(help: "Only the first pairs of the data.")
  var pairs: Int?
  @Option(help: "Most tokens of a generation.")
  var maxNewTokens = 128
  @Option(help: "Temperature of the generations; 0 is greedy.")
  var temperature = 1.0
  @Option(help: "Seed of the draws.")
  var seed: UInt64 = 0
  @OptionGroup
  var compute: ComputeArguments

  func validate() throws {
    try checkPositive("--max-new-tokens", maxNewTokens)
    try checkPositive("--pairs", pairs)
    try checkTemperature(temperature)
    guard beta > 0, beta.isFinite else {
      throw ValidationError("--beta must be above 0, found \(beta)")
    }
    for text in against where !text.contains("=") {
      throw ValidationError("--against wants name=file, found \(text)")
    }
    if let judgeReference, judge?.hasPrefix("model:") != true {
      throw ValidationError(
        "--judge-reference \(judgeReference) goes with --judge model:DIR only; leave it out")
    }
    if !against.isEmpty && judge == nil && reward == nil {
      throw ValidationError("--against needs a --judge or --reward that scores both sides")
    }
  }

  func run() {
    let opponents = against.map { text -> (name: String, path: String) in
      let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
      return (parts.first ?? "", parts.count > 1 ? parts[1] : "")
    }
    let options = EvaluateOptions(
      model: model, base: base, data: reading.options(data), reference: reference,
      reward: reward.map {
        .init(
          folder: $0, reference: nil, beta: beta, isReversed: reverse, addsEndToken: endToken)
      }, isReversed: reverse, addsEndToken: endToken, judge: judge.map(judgeSource),
      opponents: opponents, output: out, beta: beta, limit: pairs, maxNewTokens: maxNewTokens,
      temperature: temperature, seed: seed, compute: compute.options)
    runOnAllRanks { try evaluate(options, communicator: $0) }
  }

  private func judgeSource(_ text: String) -> RunConfiguration.OracleSource {
    if text.hasPrefix("rule:") { return .rule(String(text.dropFirst(5))) }
    if text.hasPrefix("model:") {
      return .model(
        .init(folder: String(text.dropFirst(6)), reference: judgeReference, beta: beta))
    }
    return .command(.init(words: text.split(separator: " ").map(String.init)))
  }
}
