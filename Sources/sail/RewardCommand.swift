import ArgumentParser
import Coordinator

struct Reward: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes a reward model's scores of prompts with their completions.",
    discussion: """
      Prompt and completion are joined as they are, without a template. Example:
        sail reward --model beaver-7b-v1.0-reward --data responses.jsonl --out scores.jsonl
      """)

  @Option(help: "Reward model folder: …ForSequenceClassification, safe-rlhf's …ForScore, Eurus-RM.")
  var model: String
  @Option(help: "Responses (JSONL: prompt, completion).")
  var data: String
  @Option(help: "File to write, one line a response.")
  var out: String
  @Flag(help: "Less is better: writes the opposite of the model's output, as of a cost.")
  var reverse = false
  @Flag(help: "Puts the model's end token behind each completion.")
  var endToken = false
  @OptionGroup
  var compute: ComputeArguments

  func run() {
    let options = RewardOptions(
      model: model, data: data, output: out, isReversed: reverse, addsEndToken: endToken,
      compute: compute.options)
    runOnAllRanks { try reward(options, communicator: $0) }
  }
}
