import Model
import Tensor

/// The work of one step: rows of a kind, groups, ranks.
struct PlannedStep {
  /// Rows of a step that are alike.
  struct Rows: Equatable {
    /// How many, on average.
    var count: Double
    var prompt: Double
    /// Tokens of each completion, the end token included.
    var completions: [Double]
    /// Whether the completions are generated.
    var isOnline = false

    /// Rows of a packed batch that one takes: a completion's last token is a target only, but of
    /// scored sequences an input too.
    func packed(isScored: Bool) -> Double {
      completions.reduce(prompt) { $0 + $1 - (isScored ? 0 : 1) }
    }

    /// Predictions of one.
    var predictions: Double { completions.reduce(0, +) }
  }

  var rows: [Rows]
  var groups: Int
  var rankCount: Int
  /// The ranks of the node that has most.
  var ranksOnNode: Int
  /// Whether sequences are scored instead of predicted.
  var isScored: Bool
  /// Rows of a packed batch that the longest row takes.
  var longest: Double
}

extension PlannedStep {
  /// The work of a run's step.
  ///
  /// - Parameters:
  ///   - configuration: the run file.
  ///   - lengths: tokens of its rows.
  ///   - rankCount: all ranks.
  ///   - ranksOnNode: those of the node that has most.
  init(
    _ configuration: RunConfiguration, lengths: RowLengths, rankCount: Int, ranksOnNode: Int
  ) {
    let pairs = Double(configuration.batch.pairs)
    let sail = configuration.sail
    let online =
      configuration.method == .sail ? min(1, sail.dpp.fraction + sail.dpr.fraction) : 0
    let new = Double(configuration.generation.maxNewTokens)
    let responses = configuration.method == .sft ? 1 : 2
    rows = [
      Rows(
        count: pairs * (1 - online), prompt: lengths.prompt,
        completions: Array(repeating: lengths.response, count: responses)),
      Rows(
        count: pairs * online, prompt: lengths.prompt, completions: [new, new], isOnline: true),
    ].filter { $0.count > 1e-9 }
    groups = configuration.batch.groups
    self.rankCount = rankCount
    self.ranksOnNode = ranksOnNode
    isScored = configuration.method == .reward
    let generated = online > 0 ? lengths.prompt + 2 * new : 0
    longest = max(lengths.longest, generated)
  }

  /// Rows of packed batches of a step, and predictions.
  var packed: Double { rows.reduce(0) { $0 + $1.count * $1.packed(isScored: isScored) } }
  var predictions: Double {
    isScored ? 0 : rows.reduce(0) { $0 + $1.count * $1.predictions }
  }
  var rowCount: Double { rows.reduce(0) { $0 + $1.count } }
  /// Rows whose completions are generated.
  var onlineRows: Rows? { rows.first(where: \.isOnline) }

  /// Groups that a rank computes one after the other.
  var waves: Int { (groups + rankCount - 1) / rankCount }

  /// Rows of a group's packed batch on average, up to a multiple of 32: with padding where there is any.
  var packedOfGroup: Double { ((packed / Double(groups)) / 32).rounded(.up) * 32 }
  var predictionsOfGroup: Double { ((predictions / Double(groups)) / 32).rounded(.up) * 32 }

  /// Rows of the largest group's packed batch: groups are dealt by length, so it is one of the longest
  /// rows with average ones beside it.
  var packedOfLargestGroup: Double {
    let perGroup = (rowCount / Double(groups)).rounded(.up)
    let mean = packed / max(1, rowCount)
    return ((max(longest, mean) + (perGroup - 1) * mean) / 32).rounded(.up) * 32
  }

  /// Predictions of the largest group, in proportion.
  var predictionsOfLargestGroup: Double {
    packed > 0 ? predictions / packed * packedOfLargestGroup : 0
  }

  /// What a rank generates in a step.
  struct Generation: Equatable {
    var prompts: Double
    /// Tokens of a prompt.
    var promptTokens: Double
    /// Completions of all prompts.
    var sequences: Double
    /// Tokens of each at most.
    var newTokens: Double

    /// Bytes of a sequence's keys and values.
    func cacheBytes(of decoder: DecoderConfiguration, _ precision: Precision) -> Double {
      Double(
        decoder.cacheBytes(precision, positions: Int((promptTokens + newTokens).rounded(.up))))
    }
  }

  /// What the rank with most to do generates, nil if it generates nothing: rows are dealt into as many
  /// units as there are groups.
  var generation: Generation? {
    guard let online = onlineRows, let newTokens = online.completions.first else { return nil }
    let units = min(Double(groups), online.count.rounded(.up))
    let prompts = (online.count / units * (units / Double(rankCount)).rounded(.up)).rounded(.up)
    return Generation(
      prompts: prompts, promptTokens: online.prompt,
      sequences: prompts * Double(online.completions.count), newTokens: newTokens)
  }
}
