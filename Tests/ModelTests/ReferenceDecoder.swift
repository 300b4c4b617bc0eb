import Glibc
import Model

/// A decoder as its definition reads: plain loops in Double over one sequence.
///
/// Weights are found by their names; nothing is shared with kernels, packing or fused blocks.
struct ReferenceDecoder {
  let configuration: DecoderConfiguration
  let table: ParameterTable
  private let places: [String: Parameter]

  init(_ model: TinyModel) {
    configuration = model.configuration
    table = model.table
    places = Dictionary(uniqueKeysWithValues: model.table.parameters.map { ($0.name, $0) })
  }

  /// log p of each completion token, families and completions in order.
  func logProbabilities(_ families: [PromptFamily], _ weights: [Double]) -> [Double] {
    families.flatMap { family in
      family.completions.flatMap { completion in
        let all = family.prompt + completion
        let rows = logits(Array(all.dropLast()), weights)
        return completion.enumerated().map { index, target in
          let row = rows[family.prompt.count - 1 + index]
          return row[Int(target)] - logSumExp(row)
        }
      }
    }
  }

  /// The raw output of a reward head after each token.
  func outputs(_ tokens: [Int32], head: String, _ weights: [Double]) -> [Double] {
    project(lastNorm(tokens, weights), head, weights).map { $0[0] }
  }

  /// Logits after each token.
  func logits(_ tokens: [Int32], _ weights: [Double]) -> [[Double]] {
    let head = configuration.tiesEmbeddings ? "model.embed_tokens" : "lm_head"
    return project(lastNorm(tokens, weights), head, weights)
  }

  /// The last norm's output after each token.
  private func lastNorm(_ tokens: [Int32], _ weights: [Double]) -> [[Double]] {
    let c = configuration
    let embedding = matrix("model.embed_tokens.weight", weights)
    var stream = tokens.map { embedding[Int($0)] }
    for layer in 0..<c.layerCount {
      let prefix = "model.layers.\(layer)."
      let normed = norm(stream, prefix + "input_layernorm.weight", weights)
      let attended = attention(normed, prefix + "self_attn.", c.windows[layer], weights)
      add(project(attended, prefix + "self_attn.o_proj", weights), to: &stream)
      let second = norm(stream, prefix + "post_attention_layernorm.weight", weights)
      let (gate, up) = gateAndUp(second, prefix + "mlp.", weights)
      let gated = zip(gate, up).map { gate, up in
        zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 }
      }
      add(project(gated, prefix + "mlp.down_proj", weights), to: &stream)
    }
    return norm(stream, "model.norm.weight", weights)
  }

  private func gateAndUp(
    _ rows: [[Double]], _ prefix: String, _ weights: [Double]
  ) -> ([[Double]], [[Double]]) {
    if places[prefix + "gate_up_proj.weight"] == nil {
      return (
        project(rows, prefix + "gate_proj", weights), project(rows, prefix + "up_proj", weights)
      )
    }
    let both = project(rows, prefix + "gate_up_proj", weights)
    let width = configuration.intermediateSize
    return (both.map { Array($0[..<width]) }, both.map { Array($0[width...]) })
  }

  private func queriesKeysValues(
    _ rows: [[Double]], _ prefix: String, _ weights: [Double]
  ) -> [[[Double]]] {
    if places[prefix + "qkv_proj.weight"] == nil {
      return ["q_proj", "k_proj", "v_proj"].map { project(rows, prefix + $0, weights) }
    }
    let heads = configuration.heads
    let all = project(rows, prefix + "qkv_proj", weights)
    let (queries, keys) = (heads.queryCount * heads.size, heads.keyValueCount * heads.size)
    return [0..<queries, queries..<queries + keys, queries + keys..<queries + 2 * keys].map {
      part in all.map { Array($0[part]) }
    }
  }

  /// Each head of each row by itself, where the model has such norms.
  private func headNorm(_ rows: [[Double]], _ name: String, _ weights: [Double]) -> [[Double]] {
    guard places[name] != nil else { return rows }
    let size = configuration.heads.size
    return rows.map { row in
      stride(from: 0, to: row.count, by: size).flatMap { start in
        norm([Array(row[start..<start + size])], name, weights)[0]
      }
    }
  }

  private func attention(
    _ normed: [[Double]], _ prefix: String, _ window: Int?, _ weights: [Double]
  ) -> [[Double]] {
    let heads = configuration.heads
    let parts = queriesKeysValues(normed, prefix, weights)
    let queries = rotated(headNorm(parts[0], prefix + "q_norm.weight", weights))
    let keys = rotated(headNorm(parts[1], prefix + "k_norm.weight", weights))
    let values = parts[2]
    return normed.indices.map { row in
      (0..<heads.queryCount).flatMap { head -> [Double] in
        let shared = head / (heads.queryCount / heads.keyValueCount)
        let first = max(0, row + 1 - (window ?? row + 1))
        let scores = (first...row).map { other in
          (0..<heads.size).reduce(0.0) {
            $0 + queries[row][head * heads.size + $1] * keys[other][shared * heads.size + $1]
          } / Double(heads.size).squareRoot()
        }
        let logSum = logSumExp(scores)
        var result = [Double](repeating: 0, count: heads.size)
        for (offset, score) in scores.enumerated() {
          for index in 0..<heads.size {
            result[index] +=
              exp(score - logSum) * values[first + offset][shared * heads.size + index]
          }
        }
        return result
      }
    }
  }

  private func rotated(_ rows: [[Double]]) -> [[Double]] {
    let rotary = configuration.rotary
    let scale = Double(rotary.scale)
    let half = rotary.frequencies.count
    return rows.enumerated().map { position, row in
      var result = row
      for head in 0..<row.count / rotary.headSize {
        for index in 0..<half {
          let angle = Double(position) * Double(rotary.frequencies[index])
          let (cosine, sine) = (cos(angle) * scale, sin(angle) * scale)
          let first = head * rotary.headSize + index
          result[first] = row[first] * cosine - row[first + half] * sine
          result[first + half] = row[first + half] * cosine + row[first] * sine
        }
      }
      return result
    }
  }

  private func norm(_ rows: [[Double]], _ name: String, _ weights: [Double]) -> [[Double]] {
    let scale = vector(name, weights)
    return rows.map { row in
      let square = row.reduce(0) { $0 + $1 * $1 } / Double(row.count)
      let inverse = 1 / (square + Double(configuration.normEpsilon)).squareRoot()
      return zip(row, scale).map { $0 * inverse * $1 }
    }
  }

  /// A linear layer, with its bias where the model has one.
  private func project(_ rows: [[Double]], _ name: String, _ weights: [Double]) -> [[Double]] {
    let lines = matrix(name + ".weight", weights)
    let bias =
      places[name + ".bias"] == nil
      ? [Double](repeating: 0, count: lines.count) : vector(name + ".bias", weights)
    return rows.map { row in
      zip(lines, bias).map { line, bias in
        var sum = bias
        for index in row.indices { sum += row[index] * line[index] }
        return sum
      }
    }
  }

  private func vector(_ name: String, _ weights: [Double]) -> [Double] {
    guard let place = places[name] else { return [] }
    return Array(weights[place.offset..<place.offset + place.count])
  }

  private func matrix(_ name: String, _ weights: [Double]) -> [[Double]] {
    guard let place = places[name], place.shape.count == 2 else { return [] }
    let columns = place.shape[1]
    return (0..<place.shape[0]).map {
      Array(weights[place.offset + $0 * columns..<place.offset + ($0 + 1) * columns])
    }
  }

  private func add(_ rows: [[Double]], to stream: inout [[Double]]) {
    for (row, values) in rows.enumerated() {
      for (index, value) in values.enumerated() { stream[row][index] += value }
    }
  }
}

func logSumExp(_ values: [Double]) -> Double {
  let largest = values.reduce(-Double.infinity, max)
  return largest + log(values.reduce(0) { $0 + exp($1 - largest) })
}

extension Double {
  /// eˣ.
  static func exponential(_ x: Double) -> Double { exp(x) }
}
