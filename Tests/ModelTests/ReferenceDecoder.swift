import Glibc
import Model

/// A Qwen2 decoder as its definition reads: plain loops in Double over one sequence.
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

  /// Logits after each token.
  func logits(_ tokens: [Int32], _ weights: [Double]) -> [[Double]] {
    let c = configuration
    let embedding = matrix("model.embed_tokens.weight", weights)
    var stream = tokens.map { embedding[Int($0)] }
    for layer in 0..<c.layerCount {
      let prefix = "model.layers.\(layer)."
      let normed = norm(stream, prefix + "input_layernorm.weight", weights)
      let attended = attention(normed, prefix + "self_attn.", weights)
      add(project(attended, prefix + "self_attn.o_proj.weight", weights), to: &stream)
      let second = norm(stream, prefix + "post_attention_layernorm.weight", weights)
      let gate = project(second, prefix + "mlp.gate_proj.weight", weights)
      let up = project(second, prefix + "mlp.up_proj.weight", weights)
      let gated = zip(gate, up).map { gate, up in
        zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 }
      }
      add(project(gated, prefix + "mlp.down_proj.weight", weights), to: &stream)
    }
    let last = norm(stream, "model.norm.weight", weights)
    let head = c.tiesEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"
    return project(last, head, weights)
  }

  private func attention(
    _ normed: [[Double]], _ prefix: String, _ weights: [Double]
  ) -> [[Double]] {
    let heads = configuration.heads
    let queries = rotated(projectWithBias(normed, prefix + "q_proj", weights))
    let keys = rotated(projectWithBias(normed, prefix + "k_proj", weights))
    let values = projectWithBias(normed, prefix + "v_proj", weights)
    return normed.indices.map { row in
      (0..<heads.queryCount).flatMap { head -> [Double] in
        let shared = head / (heads.queryCount / heads.keyValueCount)
        let scores = (0...row).map { other in
          (0..<heads.size).reduce(0.0) {
            $0 + queries[row][head * heads.size + $1] * keys[other][shared * heads.size + $1]
          } / Double(heads.size).squareRoot()
        }
        let logSum = logSumExp(scores)
        var result = [Double](repeating: 0, count: heads.size)
        for (other, score) in scores.enumerated() {
          for index in 0..<heads.size {
            result[index] += exp(score - logSum) * values[other][shared * heads.size + index]
          }
        }
        return result
      }
    }
  }

  private func rotated(_ rows: [[Double]]) -> [[Double]] {
    let size = configuration.heads.size
    let half = size / 2
    return rows.enumerated().map { position, row in
      var result = row
      for head in 0..<row.count / size {
        for index in 0..<half {
          let frequency = pow(configuration.rotaryBase, -Double(2 * index) / Double(size))
          let angle = Double(position) * frequency
          let first = head * size + index
          result[first] = row[first] * cos(angle) - row[first + half] * sin(angle)
          result[first + half] = row[first + half] * cos(angle) + row[first] * sin(angle)
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

  private func projectWithBias(
    _ rows: [[Double]], _ name: String, _ weights: [Double]
  ) -> [[Double]] {
    let bias = vector(name + ".bias", weights)
    return project(rows, name + ".weight", weights).map { zip($0, bias).map { $0 + $1 } }
  }

  private func project(_ rows: [[Double]], _ name: String, _ weights: [Double]) -> [[Double]] {
    let lines = matrix(name, weights)
    return rows.map { row in
      lines.map { line in
        var sum = 0.0
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
