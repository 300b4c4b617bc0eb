import Tensor

/// A prompt and the completions that share it.
public struct PromptFamily: Sendable {
  /// Token ids of the prompt, at least one.
  public var prompt: [Int32]
  /// Token ids of each completion, end token included where there is one.
  public var completions: [[Int32]]
  /// Row of the step, which keys the dropped inputs of an adapter.
  public var row: Int

  /// A family from its token ids.
  public init(prompt: [Int32], completions: [[Int32]], row: Int = 0) {
    self.prompt = prompt
    self.completions = completions
    self.row = row
  }
}

/// Which of an adapter's inputs a batch drops: a step's draws and their keys by row.
public struct DroppedRows: Sendable {
  let draws: DropoutDraws
  let keys: [DropoutKey]
}

/// Sequences laid out one behind the other without padding, each prompt once.
///
/// A family is prompt | first completion | second completion | …; positions restart after the
/// prompt for each completion. A completion's last token is a target only, never an input.
public struct PackedBatch: Sendable {
  /// Input token of each row; rows beyond `usedRowCount` are padding with token 0.
  public private(set) var tokens: [Int32] = []
  /// Position of each row in its sequence.
  public private(set) var positions: [Int32] = []
  /// Which rows see which.
  public private(set) var families: [AttentionFamily] = []
  /// Rows whose output predicts a completion token, sequence after sequence.
  public private(set) var predictionRows: [Int32] = []
  /// The token that each of them predicts.
  public private(set) var targets: [Int32] = []
  /// Predictions of each sequence: a range of `targets`, completions in order.
  public private(set) var sequences: [Range<Int>] = []
  /// Row at which the score of each sequence is read, where the batch is for scores.
  public private(set) var scoreRows: [Int32] = []
  /// Last row of each family's prompt, or of its piece of one.
  public private(set) var lastPromptRows: [Int32] = []
  /// Rows without padding.
  public private(set) var usedRowCount = 0
  /// Dropped inputs of an adapter, nil for none.
  public private(set) var dropped: DroppedRows?

  /// Rows with padding: a multiple of 32, as weight gradients want it.
  public var rowCount: Int { tokens.count }

  /// Packs families.
  ///
  /// - Parameters:
  ///   - packed: the families.
  ///   - dropout: draws of an adapter's dropped inputs, nil to drop none.
  public init(_ packed: [PromptFamily], dropout: DropoutDraws? = nil) {
    var keys: [DropoutKey] = []
    for family in packed {
      let first = tokens.count
      append(family, scoredBy: nil)
      guard dropout != nil else { continue }
      keys += (0..<tokens.count - first).map {
        DropoutKey(row: UInt32(truncatingIfNeeded: family.row), place: UInt32($0))
      }
    }
    dropped = dropout.map { DroppedRows(draws: $0, keys: keys) }
    pad()
  }

  /// Packs families whose sequences are scored: their last tokens are inputs too, and nothing is
  /// predicted.
  ///
  /// - Parameters:
  ///   - packed: the families; the sequences are prompt and completion, which may be empty.
  ///   - head: says at which token a score is read.
  public init(_ packed: [PromptFamily], scoredBy head: ScoreHead) {
    for family in packed { append(family, scoredBy: head) }
    pad()
  }

  /// Packs pieces of prompts, each a family, whose earlier tokens' keys and values are in caches.
  ///
  /// - Parameter pieces: tokens from a prompt; their indices in it are their positions.
  init(pieces: [ArraySlice<Int32>]) {
    for piece in pieces {
      precondition(!piece.isEmpty)
      let rows = tokens.count..<tokens.count + piece.count
      tokens += piece
      positions += piece.indices.map { Int32($0) }
      lastPromptRows.append(Int32(rows.upperBound - 1))
      let segment = AttentionSegment(rows: rows, cachedCount: piece.startIndex)
      families.append(AttentionFamily(segments: [segment]))
    }
    pad()
  }

  /// Rows with padding to a multiple of 32.
  static func paddedCount(_ rows: Int) -> Int { (rows + 31) / 32 * 32 }

  private mutating func pad() {
    usedRowCount = tokens.count
    let padding = PackedBatch.paddedCount(usedRowCount) - usedRowCount
    tokens.append(contentsOf: repeatElement(0, count: padding))
    positions.append(contentsOf: repeatElement(0, count: padding))
  }

  private mutating func append(_ family: PromptFamily, scoredBy head: ScoreHead?) {
    precondition(!family.prompt.isEmpty)
    let start = tokens.count
    let promptRows = start..<start + family.prompt.count
    tokens += family.prompt
    positions += (0..<family.prompt.count).map { Int32($0) }
    let lastPromptRow = promptRows.upperBound - 1
    lastPromptRows.append(Int32(lastPromptRow))
    var segments: [AttentionSegment] = []
    for completion in family.completions {
      let inputs = head == nil ? completion.dropLast() : completion[...]
      let first = tokens.count
      tokens += inputs
      positions += inputs.indices.map { Int32(family.prompt.count + $0) }
      if let head {
        let index = head.scoredIndex(of: family.prompt + completion)
        let isInPrompt = index < family.prompt.count
        scoreRows.append(Int32(isInPrompt ? start + index : first + index - family.prompt.count))
      } else {
        appendPredictions(of: completion, first: first, lastPromptRow: lastPromptRow)
      }
      if segments.isEmpty {
        segments.append(AttentionSegment(rows: start..<tokens.count))
      } else if !inputs.isEmpty {
        segments.append(AttentionSegment(rows: first..<tokens.count, prefix: promptRows))
      }
    }
    if segments.isEmpty { segments.append(AttentionSegment(rows: promptRows)) }
    families.append(AttentionFamily(segments: segments))
  }

  private mutating func appendPredictions(
    of completion: [Int32], first: Int, lastPromptRow: Int
  ) {
    let firstTarget = targets.count
    for (index, target) in completion.enumerated() {
      predictionRows.append(Int32(index == 0 ? lastPromptRow : first + index - 1))
      targets.append(target)
    }
    sequences.append(firstTarget..<targets.count)
  }
}
