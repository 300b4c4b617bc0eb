import ArgumentParser
import Coordinator
import Foundation

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Says what a checkpoint, model, run, reference cache or data file holds.",
    discussion: """
      Examples, every byte of a checkpoint against its checksum:
        sail inspect --verify runs/dpo/checkpoints/step-00000100
      a data set as a model reads it: tokens, where the loss counts, lengths, what limits cut:
        sail inspect pairs.jsonl.zst --model Qwen2.5-0.5B --max-length 512
      """)

  @Flag(help: "Reads every byte of a checkpoint or cache; exit code 3 if it is not whole.")
  var verify = false
  @Argument(help: "Checkpoint, model folder, run folder, reference cache or JSONL file.")
  var path: String
  @Option(help: "Model folder, to see a data file's rows as tokens.")
  var model: String?
  @OptionGroup
  var reading: ReadingArguments
  @Option(help: "Most tokens of prompt and completion together (data.max_length).")
  var maxLength = 1024
  @Option(help: "Most tokens of a prompt (data.max_prompt_length).")
  var maxPromptLength = 512
  @Option(help: "What happens beyond a limit: drop or cut (data.overlong).")
  var overlong = RunConfiguration.Overlong.drop
  @Option(help: "Rows of a data file to show token by token.")
  var rows = 3

  func validate() throws {
    guard maxLength >= 2 else {
      throw ValidationError("--max-length must be at least 2, found \(maxLength)")
    }
    guard maxPromptLength >= 1 else {
      throw ValidationError("--max-prompt-length must be at least 1, found \(maxPromptLength)")
    }
    guard rows >= 0 else { throw ValidationError("--rows must be 0 or more, found \(rows)") }
  }

  func run() {
    let data = InspectDataOptions(
      model: model, form: reading.format.form, template: reading.template.template,
      limits: LengthLimits(
        maxLength: maxLength, maxPromptLength: maxPromptLength, overlong: overlong),
      shownRows: rows)
    runAlone { print(try inspect(path: path, verifies: verify, data: data)) }
  }
}

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes a checkpoint, model or adapter as a Hugging Face model folder.",
    discussion: """
      A run that trained an adapter becomes a PEFT adapter folder, with --merge a whole model. \
      Examples:
        sail export runs/dpo/checkpoints/step-00000100 --out my-model --dtype bf16 --verify
        sail export runs/lora/model --merge --out my-model
      """)

  enum Kind: String, ExpressibleByArgument, CaseIterable {
    case f32
    case bf16
    case f16
  }

  @Argument(help: "A step-… folder of a run, a model folder or an adapter folder.")
  var source: String
  @Option(help: "Folder to write.")
  var out: String
  @Option(help: "Number type: f32, bf16 or f16; that of the starting model if absent.")
  var dtype: Kind?
  @Option(help: "Most bytes of numbers in a file, such as 500MB.")
  var shardSize = "5GB"
  @Flag(help: "Adds an adapter to its base model's weights.")
  var merge = false
  @Option(help: "Folder of an adapter's base model; the one that it names if absent.")
  var base: String?
  @Flag(help: "Reads the folder again and compares log-probabilities; exit code 3 if they differ.")
  var verify = false

  func validate() throws {
    guard byteCount(of: shardSize) != nil else {
      throw ValidationError("--shard-size wants a size with its unit, such as 500MB or 5GB")
    }
  }

  func run() {
    let options = ExportOptions(
      source: source, output: out, type: dtype?.rawValue,
      shardBytes: byteCount(of: shardSize) ?? 5_000_000_000, merges: merge, base: base,
      verifies: verify)
    runAlone { print(try export(options)) }
  }
}

struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints a table of several runs' evaluations side by side.",
    discussion: """
      Figures are those of `sail evaluate --out RUN/evaluation`, else of the run's own last \
      evaluation. Example:
        sail evaluate --model runs/dpo/model --data eval.jsonl --out runs/dpo/evaluation
        sail compare runs/sft runs/dpo
      """)

  @Argument(help: "Run folders, in the order of the rows.")
  var runs: [String]

  func run() {
    runAlone { print(try compare(folders: runs)) }
  }
}

struct Synthesize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes a preference data set with a known true reward, and a small model for it.",
    discussion: """
      The rule "synthetic" (oracle: {rule: synthetic}, --judge rule:synthetic) is the true reward;
      docs/synthetic-task.md says how it is made. Example:
        sail synthesize --out runs/data --pairs 8000 --label-noise 0.1
      """)

  @Option(help: "Folder to write.")
  var out: String
  @Option(help: "Seed of the data.")
  var seed: UInt64 = 1
  @Option(help: "Share of training and evaluation labels that are flipped, 0 to 0.5.")
  var labelNoise: Double?
  @Option(help: "Rows for supervised fine-tuning.")
  var supervised: Int?
  @Option(help: "Training pairs.")
  var pairs: Int?
  @Option(help: "Evaluation pairs.")
  var evaluationPairs: Int?
  @Option(help: "Tokens of the model's vocabulary.")
  var vocabulary: Int?
  @Option(help: "Width of the model.")
  var hidden: Int?
  @Option(help: "Layers of the model.")
  var layers: Int?

  func run() {
    runAlone {
      try synthesize(
        SynthesizeOptions(
          folder: out, seed: seed, labelNoise: labelNoise, supervised: supervised, pairs: pairs,
          evaluationPairs: evaluationPairs, vocabulary: vocabulary, hidden: hidden,
          layers: layers)
      ) { print($0) }
    }
  }
}
