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

/// A completion that is being generated.
private final class LiveRow {
  let request: Int
  let key: (row: Int, sample: Int)
  let prompt: KeyValueCache
  let own: KeyValueCache
  var completion = Completion(
    tokens: [], logProbability: 0, drawLogProbability: 0, isEnded: false)

  init(
    request: Int, key: (row: Int, sample: Int), prompt: KeyValueCache, own: KeyValueCache
  ) {
    self.request = request
    self.key = key
    self.prompt = prompt
    self.own = own
  }
}

extension Decoder {
  /// Generates completions for several prompts together.
  ///
  /// Prompts go through the layers once, packed, and are shared by their samples; then all rows
  /// decode together, one token a row, and a row leaves when it ends. A token's draw is keyed by
  /// (step, row, sample, position), so texts do not depend on who generates them.
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
    let prompts = prefill(requests.map(\.prompt))
    var live: [LiveRow] = []
    for (index, request) in requests.enumerated() {
      for sample in 0..<request.sampleCount {
        live.append(
          LiveRow(
            request: index, key: (request.row, sample), prompt: prompts.caches[index],
            own: KeyValueCache(configuration, capacity: max(1, settings.maxNewTokens - 1))))
      }
    }
    let all = live
    let space = DecodeWorkspace(configuration, rows: live.count)
    var logits = promptLogits(prompts.lastRows, of: live)
    while !live.isEmpty {
      let uniforms = live.map { row in
        random.uniform(
          step: step, row: row.key.row, sample: row.key.sample,
          position: row.completion.tokens.count)
      }
      let drawn = compute.sample(logits, rule: settings.rule, uniforms: uniforms)
      for (row, token) in zip(live, drawn) {
        row.completion.tokens.append(token.token)
        row.completion.logProbability += token.logProbability
        row.completion.drawLogProbability += token.drawLogProbability
        row.completion.isEnded = settings.endTokens.contains(token.token)
      }
      onProgress(live.count)
      live.removeAll {
        $0.completion.isEnded || $0.completion.tokens.count == settings.maxNewTokens
      }
      if !live.isEmpty { logits = decodeStep(live, space) }
    }
    var results = [[Completion]](repeating: [], count: requests.count)
    for row in all { results[row.request].append(row.completion) }
    return results
  }

  /// Runs prompts through the layers and keeps their keys and values.
  ///
  /// Returns the caches and the residual rows (M, C) of the prompts' last tokens.
  private func prefill(_ prompts: [[Int32]]) -> (caches: [KeyValueCache], lastRows: FloatBuffer) {
    let c = configuration
    let batch = PackedBatch(prompts.map { PromptFamily(prompt: $0, completions: []) })
    let caches = prompts.map { KeyValueCache(c, capacity: $0.count) }
    runLayers(batch, keepsActivations: false) { layer, fused in
      compute.pool.run(prompts.count) { index, _ in
        let first = Int(batch.lastPromptRows[index]) + 1 - prompts[index].count
        for position in 0..<prompts[index].count {
          caches[index].store(fused.row(first + position), layer: layer, position: position)
        }
      }
    }
    let lastRows = FloatBuffer(count: prompts.count * c.hiddenSize)
    for (index, row) in batch.lastPromptRows.enumerated() {
      caches[index].count = prompts[index].count
      (lastRows.base + index * c.hiddenSize).update(
        from: residual.base + Int(row) * c.hiddenSize, count: c.hiddenSize)
    }
    return (caches, lastRows)
  }

  private func promptLogits(_ lastRows: FloatBuffer, of live: [LiveRow]) -> Matrix {
    let width = configuration.hiddenSize
    let rows = FloatBuffer(count: live.count * width)
    for (index, row) in live.enumerated() {
      (rows.base + index * width).update(
        from: lastRows.base + row.request * width, count: width)
    }
    return headLogits(rows.matrix(rows: live.count, columns: width))
  }

  /// Feeds each row's last token; returns the logits of the next (M, V).
  private func decodeStep(_ live: [LiveRow], _ space: DecodeWorkspace) -> Matrix {
    let c = configuration
    let rows = live.count
    let stream = space.stream.matrix(rows: rows, columns: c.hiddenSize)
    embed(live.compactMap(\.completion.tokens.last), into: stream)
    let positions = live.map { Int32($0.prompt.count + $0.completion.tokens.count - 1) }
    let angles = RotaryAngles(positions: positions, embedding: c.rotary)
    let fused = space.fused.matrix(rows: rows, columns: c.heads.fusedColumns)
    let normed = space.normed.matrix(rows: rows, columns: c.hiddenSize)
    let projected = space.projected.matrix(rows: rows, columns: c.hiddenSize)
    let attended = space.attended.matrix(rows: rows, columns: queryColumns)
    let gateUp = space.gateUp.matrix(rows: rows, columns: 2 * c.intermediateSize)
    let activation = space.activation.matrix(rows: rows, columns: c.intermediateSize)
    for layer in 0..<c.layerCount {
      projectAttentionInput(
        layer, stream, normed: normed, inverseRMS: space.inverseRMS.base,
        headNorms: space.headNorms, angles: angles, into: fused)
      for (index, row) in live.enumerated() {
        row.own.store(
          fused.row(index), layer: layer, position: row.completion.tokens.count - 1)
      }
      compute.cachedAttention(
        fused, heads: c.heads,
        shared: live.map { $0.prompt.layer(layer, count: $0.prompt.count) },
        own: live.map { $0.own.layer(layer, count: $0.completion.tokens.count) },
        window: c.windows[layer], into: attended)
      project(.attentionOutput, layer: layer, attended, into: projected, dropped: nil)
      compute.add(stream, projected)
      runMLP(
        layer, stream, normed: normed, inverseRMS: space.inverseRMS.base, gateUp: gateUp,
        activation: activation, into: projected)
      compute.add(stream, projected)
    }
    return headLogits(stream)
  }

  /// Logits of residual rows, normed in place.
  private func headLogits(_ rows: Matrix) -> Matrix {
    let inverseRMS = FloatBuffer(count: rows.rows)
    compute.rmsNorm(
      rows, weight: weights.base + weights.table.finalNorm, epsilon: configuration.normEpsilon,
      into: rows, inverseRMS: inverseRMS.base)
    let result = logitsMatrix(rows: rows.rows)
    compute.linear(rows, headMatrix, into: result)
    return result
  }
}

/// Memory of one decoding step.
private struct DecodeWorkspace {
  let stream: FloatBuffer
  let inverseRMS: FloatBuffer
  let normed: FloatBuffer
  let headNorms: HeadNormActivations?
  let fused: FloatBuffer
  let attended: FloatBuffer
  let projected: FloatBuffer
  let gateUp: FloatBuffer
  let activation: FloatBuffer

  init(_ c: DecoderConfiguration, rows: Int) {
    stream = FloatBuffer(count: rows * c.hiddenSize)
    inverseRMS = FloatBuffer(count: rows)
    normed = FloatBuffer(count: rows * c.hiddenSize)
    headNorms = c.family.normsHeads ? HeadNormActivations(c.heads, rows: rows) : nil
    fused = FloatBuffer(count: rows * c.heads.fusedColumns)
    attended = FloatBuffer(count: rows * c.heads.queryCount * c.heads.size)
    projected = FloatBuffer(count: rows * c.hiddenSize)
    gateUp = FloatBuffer(count: rows * 2 * c.intermediateSize)
    activation = FloatBuffer(count: rows * c.intermediateSize)
  }
}
