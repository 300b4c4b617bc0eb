import Comm
import JSONText
import Model
import Tensor
import Worker

/// What `sail generate` is asked.
public struct GenerateOptions: Sendable {
  /// Model folder or adapter folder.
  public var model: String
  /// Folder of the base model of adapter folders, nil for the one that each names.
  public var base: String?
  /// Lines with a prompt.
  public var data: DataOptions
  /// File to write.
  public var output: String
  /// Completions a prompt.
  public var samples: Int
  /// Most tokens of a completion.
  public var maxNewTokens: Int
  /// How tokens are chosen.
  public var rule: SamplingRule
  /// Seed of the draws.
  public var seed: UInt64
  /// Threads and number type.
  public var compute: ComputeOptions

  /// Options from their parts.
  public init(
    model: String, base: String? = nil, data: DataOptions, output: String, samples: Int,
    maxNewTokens: Int,
    temperature: Double, topP: Double, topK: Int, seed: UInt64, compute: ComputeOptions
  ) {
    self.model = model
    self.base = base
    self.data = data
    self.output = output
    self.samples = samples
    self.maxNewTokens = maxNewTokens
    rule = SamplingRule(temperature: temperature, topK: topK, topP: topP)
    self.seed = seed
    self.compute = compute
  }
}

// Completions decoded together.
let generationBatch = 64

/// Writes completions of prompts, one line a prompt in the order of the data; collective.
///
/// - Parameters:
///   - options: model, data, output, sampling.
///   - communicator: all ranks.
/// - Returns: the exit code.
/// - Throws: what is wrong with model or data.
public func generate(
  _ options: GenerateOptions, communicator: borrowing Communicator
) throws -> Int32 {
  let progress = ProgressLine(style: .auto, isShown: communicator.rank == 0)
  let rows = try communicator.agree {
    try checkGenerationSizes(maxNewTokens: options.maxNewTokens, samples: options.samples)
    try checkWritable(options.output)
    return try options.data.rows(for: .prompts(keepingResponses: false))
  }
  let model = try LoadedModel(
    path: options.model, use: .probabilities("sail generate"), base: options.base, reference: nil,
    compute: options.compute,
    communicator: communicator)
  let prompts = try communicator.agree {
    try everyPrompt(
      try options.data.texts(rows, for: model.folder), of: model.folder,
      maxNewTokens: options.maxNewTokens)
  }
  let settings = GenerationSettings(
    rule: options.rule, maxNewTokens: options.maxNewTokens, endTokens: model.folder.endTokens)
  let random = KeyedRandom(seed: options.seed, purpose: .sampling)
  let lines = try mapRows(
    count: prompts.count, batch: max(1, generationBatch / options.samples), what: "generate",
    progress: progress, communicator: communicator
  ) { range in
    let completions = model.worker.rollout(
      range.map {
        GenerationRequest(prompt: prompts[$0], sampleCount: options.samples, row: $0)
      }, settings: settings, random: random, step: 0)
    return zip(range, completions).map { index, samples in
      Array(line(rows[index].prompt, samples, model.folder).text.utf8)
    }
  }
  try writeLines(lines, to: options.output, communicator: communicator)
  return 0
}

private func line(_ prompt: DataText, _ samples: [Completion], _ model: ModelFolder) -> JSON {
  [
    "prompt": prompt.json,
    "completions": .array(samples.map { .string(model.tokenizer.decode($0.tokens)) }),
    "token_ids": .array(samples.map { .array($0.tokens.map { .integer(Int64($0)) }) }),
    "logps": .array(samples.map { .number($0.logProbability) }),
    "finish": .array(samples.map { .string($0.isEnded ? "eos" : "length") }),
  ]
}

/// All prompts as token ids; one without tokens is an error, as is one too long to be answered.
private func everyPrompt(
  _ texts: [TextRow], of model: ModelFolder, maxNewTokens: Int
) throws -> [[Int32]] {
  let prompts = try everyRow(texts, of: model).map(\.prompt)
  for (text, prompt) in zip(texts, prompts) {
    try model.checkPositions(
      prompt.count + maxNewTokens, "\(text.place) and its new tokens have")
  }
  return prompts
}
