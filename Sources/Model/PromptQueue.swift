import Tensor

/// A prompt on its way through the layers or behind them, shared by its samples.
final class SharedPrompt {
  let request: Int
  let tokens: [Int32]
  /// Keys and values of the tokens that are read.
  let cache: KeyValueCache
  /// The last token's row of the residual stream (C), once it is read.
  let lastRow: FloatBuffer
  fileprivate var readCount = 0
  fileprivate var unstartedCount: Int
  fileprivate var isRead: Bool { readCount == tokens.count }

  fileprivate init(request: Int, _ content: GenerationRequest, of weights: DecoderWeights) {
    self.request = request
    tokens = content.prompt
    cache = KeyValueCache(
      weights.configuration, precision: weights.precision, positions: tokens.count)
    lastRow = FloatBuffer(count: weights.configuration.hiddenSize)
    unstartedCount = content.sampleCount
  }
}

/// The prompts of one generation, read in order by chunks of at most ``Decoder/promptChunk`` tokens.
///
/// A longer prompt is cut at multiples of that; where it is cut depends on its length alone. Each piece
/// reads the keys and values of those before it in the prompt's cache, in the tiles of the whole prompt.
/// Short prompts and last pieces share a chunk.
struct PromptQueue {
  private let decoder: Decoder
  private let requests: [GenerationRequest]
  private var nextRequest = 0
  /// Prompts with samples to start; all but the last are read.
  private var prompts: [SharedPrompt] = []

  init(_ requests: [GenerationRequest], of decoder: Decoder) {
    self.requests = requests
    self.decoder = decoder
  }

  /// Takes the next sample whose prompt is read: the prompt and the sample's index.
  mutating func nextSample() -> (prompt: SharedPrompt, sample: Int)? {
    guard let prompt = prompts.first, prompt.isRead else { return nil }
    let sample = requests[prompt.request].sampleCount - prompt.unstartedCount
    prompt.unstartedCount -= 1
    if prompt.unstartedCount == 0 { prompts.removeFirst() }
    return (prompt, sample)
  }

  /// Runs the next chunk through the layers.
  ///
  /// - Parameter startableRows: rows that could start now; further prompts wait.
  /// - Returns: number of tokens, 0 if there are none.
  mutating func readChunk(startableRows: Int) -> Int {
    var chosen: [(prompt: SharedPrompt, piece: ArraySlice<Int32>)] = []
    var room = decoder.promptChunk
    while room > 0, let prompt = unreadPrompt(startableRows: startableRows) {
      let piece = prompt.tokens[prompt.readCount...].prefix(decoder.promptChunk)
      if piece.count > room { break }
      chosen.append((prompt, piece))
      prompt.readCount = piece.endIndex
      room -= piece.count
    }
    if chosen.isEmpty { return 0 }
    let batch = PackedBatch(pieces: chosen.map(\.piece))
    let stream = decoder.runLayers(
      batch, keepsActivations: false, caches: chosen.map(\.prompt.cache))
    for ((prompt, _), row) in zip(chosen, batch.lastPromptRows) where prompt.isRead {
      prompt.lastRow.base.update(from: stream.row(Int(row)), count: stream.columns)
    }
    return batch.usedRowCount
  }

  /// The prompt that is read in part, else the next that is not.
  private mutating func unreadPrompt(startableRows: Int) -> SharedPrompt? {
    if let last = prompts.last, !last.isRead { return last }
    while nextRequest < requests.count,
      prompts.reduce(0, { $0 + $1.unstartedCount }) < startableRows
    {
      let request = nextRequest
      nextRequest += 1
      if requests[request].sampleCount == 0 { continue }
      let prompt = SharedPrompt(request: request, requests[request], of: decoder.weights)
      prompts.append(prompt)
      return prompt
    }
    return nil
  }
}
