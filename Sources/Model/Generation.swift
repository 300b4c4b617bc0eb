import Glibc
import Tensor

/// What to generate from one prompt.
public struct GenerationRequest: Sendable {
  /// Token ids of the prompt, at least one.
  public var prompt: [Int32]
  /// Number of completions.
  public var sampleCount: Int
  /// Key of the draws: the row in the step or data set.
  public var row: Int

  /// A request from its parts.
  public init(prompt: [Int32], sampleCount: Int, row: Int) {
    self.prompt = prompt
    self.sampleCount = sampleCount
    self.row = row
  }
}

/// How completions are generated.
public struct GenerationSettings: Sendable {
  /// How tokens are chosen.
  public var rule: SamplingRule
  /// Most tokens of a completion, the end token included; at least 1.
  public var maxNewTokens: Int
  /// Tokens that end a completion.
  public var endTokens: [Int32]

  /// Settings from their parts.
  public init(rule: SamplingRule, maxNewTokens: Int, endTokens: [Int32]) {
    self.rule = rule
    self.maxNewTokens = maxNewTokens
    self.endTokens = endTokens
  }
}

/// A generated completion.
public struct Completion: Sendable {
  /// New tokens, the end token included where one was drawn.
  public var tokens: [Int32]
  /// Sum of the tokens' log-probabilities at temperature 1 without filters.
  public var logProbability: Double
  /// Sum of the tokens' log-probabilities under the distribution that they were drawn from.
  public var drawLogProbability: Double
  /// Whether an end token was drawn; otherwise the length limit cut it.
  public var isEnded: Bool

  /// A completion from its parts.
  public init(
    tokens: [Int32], logProbability: Double, drawLogProbability: Double, isEnded: Bool
  ) {
    self.tokens = tokens
    self.logProbability = logProbability
    self.drawLogProbability = drawLogProbability
    self.isEnded = isEnded
  }
}

/// What generation took.
public struct GenerationTimes: Sendable {
  /// Prompt tokens that went through the layers.
  public var promptTokens = 0
  /// Seconds for them.
  public var promptSeconds = 0.0
  /// Tokens drawn.
  public var newTokens = 0
  /// Seconds for drawing them and for the layers that they went through.
  public var decodeSeconds = 0.0

  /// Nothing yet.
  public init() {}

  /// Adds what another generation took.
  public mutating func add(_ other: GenerationTimes) {
    promptTokens += other.promptTokens
    promptSeconds += other.promptSeconds
    newTokens += other.newTokens
    decodeSeconds += other.decodeSeconds
  }
}

/// A completion that is being generated.
private final class LiveRow {
  let request: Int
  let sample: Int
  let promptCount: Int
  let cache: KeyValueCache
  var completion = Completion(
    tokens: [], logProbability: 0, drawLogProbability: 0, isEnded: false)

  init(request: Int, sample: Int, promptCount: Int, cache: KeyValueCache) {
    self.request = request
    self.sample = sample
    self.promptCount = promptCount
    self.cache = cache
  }

  /// Positions of the cache that are filled once the last token drawn is in it.
  var count: Int { promptCount + completion.tokens.count }
}

/// Generation of completions for the prompts of one call (continuous batching, Yu et al., OSDI 2022).
///
/// All rows that are being generated decode together, one token a row and step; a row that ends is
/// replaced by the next that waits. Prompts go through the layers once, a chunk between two steps, and
/// are shared by their samples. A token's draw is keyed by (step, row, sample, position), and where
/// products are invariant no row depends on its neighbours.
private final class GenerationLoop {
  let decoder: Decoder
  let requests: [GenerationRequest]
  let settings: GenerationSettings
  let random: KeyedRandom
  let step: Int
  private let space: DecodeWorkspace
  private var free: [KeyValueCache]
  private var prompts: PromptQueue
  private var live: [LiveRow] = []
  private(set) var results: [[Completion?]]
  private(set) var times = GenerationTimes()

  init(
    _ decoder: Decoder, _ requests: [GenerationRequest], _ settings: GenerationSettings,
    _ random: KeyedRandom, step: Int
  ) {
    self.decoder = decoder
    self.requests = requests
    self.settings = settings
    self.random = random
    self.step = step
    let longest = requests.reduce(0) { max($0, $1.prompt.count) } + settings.maxNewTokens - 1
    let rows = requests.reduce(0) { $0 + $1.sampleCount }
    free = decoder.cacheSlots(count: rows, positions: longest)
    space = DecodeWorkspace(
      decoder.configuration, rows: free.count, precision: decoder.weights.precision)
    prompts = PromptQueue(requests, of: decoder)
    results = requests.map { [Completion?](repeating: nil, count: $0.sampleCount) }
  }

  /// Draws one token of every row; false when all completions are done.
  func advance() -> Bool {
    admit()
    if live.isEmpty { return false }
    let start = seconds()
    let c = decoder.configuration
    let stream = space.stream.matrix(rows: live.count, columns: c.hiddenSize)
    decoder.decodeLayers(live.filter { !$0.completion.tokens.isEmpty }, space)
    // Rows that start stand behind the others; what their prompts ended with is theirs.
    let uniforms = live.map { row in
      random.uniform(
        step: step, row: requests[row.request].row, sample: row.sample,
        position: row.completion.tokens.count)
    }
    let drawn = decoder.draw(from: stream, rule: settings.rule, uniforms: uniforms)
    for (row, token) in zip(live, drawn) {
      row.completion.tokens.append(token.token)
      row.completion.logProbability += token.logProbability
      row.completion.drawLogProbability += token.drawLogProbability
      row.completion.isEnded = settings.endTokens.contains(token.token)
    }
    times.newTokens += live.count
    live.removeAll { row in
      let isDone =
        row.completion.isEnded || row.completion.tokens.count == settings.maxNewTokens
      if isDone {
        results[row.request][row.sample] = row.completion
        free.append(row.cache)
      }
      return isDone
    }
    times.decodeSeconds += seconds() - start
    return true
  }

  /// Starts rows where caches are free and reads prompts for them: one chunk where rows are being
  /// decoded, which wait for it, else as many as it takes.
  private func admit() {
    let isDecoding = !live.isEmpty
    startRows()
    while !free.isEmpty {
      let start = seconds()
      let tokenCount = prompts.readChunk(startableRows: free.count)
      if tokenCount == 0 { return }
      times.promptTokens += tokenCount
      times.promptSeconds += seconds() - start
      startRows()
      if isDecoding { return }
    }
  }

  /// Starts as many rows as there are caches for and prompts read.
  private func startRows() {
    let width = decoder.configuration.hiddenSize
    while !free.isEmpty, let (prompt, sample) = prompts.nextSample(), let cache = free.popLast() {
      let count = prompt.tokens.count
      decoder.compute.pool.run(decoder.configuration.layerCount) { layer, _ in
        cache.copy(prompt.cache, layer: layer, count: count)
      }
      (space.stream.base + live.count * width).update(from: prompt.lastRow.base, count: width)
      live.append(
        LiveRow(request: prompt.request, sample: sample, promptCount: count, cache: cache))
    }
  }
}

extension Decoder {
  /// Generates completions for several prompts together.
  ///
  /// - Parameters:
  ///   - requests: the prompts.
  ///   - settings: how to choose tokens and when to stop.
  ///   - random: the keyed draws.
  ///   - step: key of the draws.
  ///   - onProgress: called after every decoding step with the number of tokens drawn in it.
  /// - Returns: for each request its completions in sample order.
  public func generate(
    _ requests: [GenerationRequest], settings: GenerationSettings, random: KeyedRandom, step: Int,
    onProgress: (Int) -> Void = { _ in }
  ) -> [[Completion]] {
    precondition(settings.maxNewTokens >= 1)
    if requests.isEmpty { return [] }
    let loop = GenerationLoop(self, requests, settings, random, step: step)
    var tokenCount = 0
    while loop.advance() {
      onProgress(loop.times.newTokens - tokenCount)
      tokenCount = loop.times.newTokens
    }
    generationTimes = loop.times
    return loop.results.map { $0.compactMap { $0 } }
  }

  /// Caches for rows of so many positions: as many as rows, or as fit into ``cacheLimit``, at least one.
  fileprivate func cacheSlots(count: Int, positions: Int) -> [KeyValueCache] {
    let precision = weights.precision
    let bytes = KeyValueCache.bytes(configuration, precision: precision, positions: positions)
    let wanted = min(count, max(1, cacheLimit / max(1, bytes)))
    // Caches of another length would hold more than they are counted for.
    if caches.contains(where: { $0.capacity != KeyValueCache.capacity(positions: positions) }) {
      caches = []
    }
    while caches.count < wanted {
      caches.append(
        KeyValueCache(configuration, precision: precision, positions: positions))
    }
    return Array(caches.prefix(wanted).reversed())
  }

  /// Runs each row's last token through the layers; leaves them in the first rows of the stream.
  fileprivate func decodeLayers(_ rows: [LiveRow], _ space: DecodeWorkspace) {
    if rows.isEmpty { return }
    let c = configuration
    let count = rows.count
    let stream = space.stream.matrix(rows: count, columns: c.hiddenSize)
    embed(rows.compactMap(\.completion.tokens.last), into: stream)
    let angles = RotaryAngles(
      positions: rows.map { Int32($0.count - 1) }, embedding: c.rotary)
    let fused = space.fused.matrix(rows: count, columns: c.heads.fusedColumns)
    let normed = space.layer.normed.matrix(rows: count, columns: c.hiddenSize)
    let projected = space.projected.matrix(rows: count, columns: c.hiddenSize)
    let attended = space.attended.matrix(rows: count, columns: queryColumns)
    let gateUp = space.gateUp.matrix(rows: count, columns: 2 * c.intermediateSize)
    let activation = space.layer.activation.matrix(rows: count, columns: c.intermediateSize)
    for layer in 0..<c.layerCount {
      projectAttentionInput(
        layer, stream, normed: normed, inverseRMS: space.inverseRMS.base,
        headNorms: space.headNorms, angles: angles, wide: space.layer.wide, into: fused)
      compute.cachedAttention(
        fused, heads: c.heads, caches: rows.map { $0.cache.layer(layer, count: $0.count) },
        window: c.windows[layer], into: attended)
      project(.attentionOutput, layer: layer, attended, into: projected.operand, dropped: nil)
      compute.add(stream, projected)
      projectGateUp(
        layer, stream, normed: normed, inverseRMS: space.inverseRMS.base, wide: space.layer.wide,
        into: gateUp)
      projectDown(layer, gateUp, activation: activation, into: projected)
      compute.add(stream, projected)
    }
  }

  /// Draws a token from each row of the residual stream.
  fileprivate func draw(
    from stream: Matrix, rule: SamplingRule, uniforms: [Double]
  ) -> [SampledToken] {
    var drawn: [SampledToken] = []
    // Where these logits go, those of a forward were kept: no backward may follow it any more.
    lastHead = nil
    for start in stride(from: 0, to: stream.rows, by: Decoder.drawnRows) {
      let part = start..<min(stream.rows, start + Decoder.drawnRows)
      let rows = gatherHeadRows(part.map { Int32($0) }, of: stream, isPadded: false)
      let logits = slicedLogits(rows: part.count, tokens: configuration.vocabularySize)
      _ = headStatistics(rows, keeping: logits)
      drawn += compute.sample(
        logits, sums: rows.sums, rule: rule, uniforms: Array(uniforms[part]))
    }
    return drawn
  }

  /// Rows whose logits are held at once.
  private static let drawnRows = 64
}

/// Memory of one decoding step.
private struct DecodeWorkspace {
  let stream: FloatBuffer
  let layer: LayerWorkspace
  let inverseRMS: FloatBuffer
  let headNorms: HeadNormActivations?
  let fused: OperandBuffer
  let attended: OperandBuffer
  let projected: FloatBuffer
  let gateUp: OperandBuffer

  init(_ c: DecoderConfiguration, rows: Int, precision: Precision) {
    stream = FloatBuffer(count: rows * c.hiddenSize)
    layer = LayerWorkspace(c, rows: rows, precision: precision)
    inverseRMS = FloatBuffer(count: rows)
    headNorms = c.family.normsHeads ? HeadNormActivations(c.heads, rows: rows) : nil
    fused = OperandBuffer(count: rows * c.heads.fusedColumns, precision: precision)
    attended = OperandBuffer(
      count: rows * c.heads.queryCount * c.heads.size, precision: precision)
    projected = FloatBuffer(count: rows * c.hiddenSize)
    gateUp = OperandBuffer(count: rows * 2 * c.intermediateSize, precision: precision)
  }
}

private func seconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}
