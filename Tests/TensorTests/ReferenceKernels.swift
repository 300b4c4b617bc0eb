import Glibc
import Tensor

// Plain loops in Double over the definitions; nothing here is shared with the kernels.

enum Reference {
  /// x · wᵀ.
  static func linear(_ x: Table, _ w: Table) -> Table {
    var y = Table(rows: x.rows, columns: w.rows)
    for m in 0..<x.rows {
      for n in 0..<w.rows {
        for k in 0..<x.columns { y[m, n] += x[m, k] * w[n, k] }
      }
    }
    return y
  }

  /// dy · w.
  static func inputGradient(_ dy: Table, _ w: Table) -> Table {
    var dx = Table(rows: dy.rows, columns: w.columns)
    for m in 0..<dy.rows {
      for n in 0..<w.rows {
        for k in 0..<w.columns { dx[m, k] += dy[m, n] * w[n, k] }
      }
    }
    return dx
  }

  /// dyᵀ · x.
  static func weightGradient(_ dy: Table, _ x: Table) -> Table {
    var dw = Table(rows: dy.columns, columns: x.columns)
    for m in 0..<dy.rows {
      for n in 0..<dy.columns {
        for k in 0..<x.columns { dw[n, k] += dy[m, n] * x[m, k] }
      }
    }
    return dw
  }

  /// Sum over rows, (1, N).
  static func sumOfRows(_ x: Table) -> Table {
    var result = Table(rows: 1, columns: x.columns)
    for row in 0..<x.rows {
      for column in 0..<x.columns { result[0, column] += x[row, column] }
    }
    return result
  }

  static func rmsNorm(
    _ x: Table, weight: Table, epsilon: Double
  ) -> (y: Table, inverseRMS: Table) {
    var y = x
    var inverse = Table(rows: 1, columns: x.rows)
    for row in 0..<x.rows {
      var square = 0.0
      for column in 0..<x.columns { square += x[row, column] * x[row, column] }
      inverse[0, row] = 1 / sqrt(square / Double(x.columns) + epsilon)
      for column in 0..<x.columns {
        y[row, column] = x[row, column] * inverse[0, row] * weight[0, column]
      }
    }
    return (y, inverse)
  }

  /// Rotates the first `headCount` heads of each row by position · base^(−2i/size).
  static func rotate(
    _ x: Table, headCount: Int, headSize: Int, positions: [Int32], base: Double, inverse: Bool
  ) -> Table {
    var y = x
    let half = headSize / 2
    for row in 0..<x.rows {
      for head in 0..<headCount {
        for index in 0..<half {
          let angle = Double(positions[row]) * pow(base, -Double(2 * index) / Double(headSize))
          let first = head * headSize + index
          let second = first + half
          let sine = inverse ? -sin(angle) : sin(angle)
          y[row, first] = x[row, first] * cos(angle) - x[row, second] * sine
          y[row, second] = x[row, second] * cos(angle) + x[row, first] * sine
        }
      }
    }
    return y
  }

  /// Cosine and sine of a 32-bit angle.
  static func turn(by angle: Float) -> (cosine: Double, sine: Double) {
    (cos(Double(angle)), sin(Double(angle)))
  }

  static func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }

  static func swiGLU(_ gateUp: Table) -> Table {
    let width = gateUp.columns / 2
    var result = Table(rows: gateUp.rows, columns: width)
    for row in 0..<gateUp.rows {
      for column in 0..<width {
        let gate = gateUp[row, column]
        result[row, column] = gate / (1 + exp(-gate)) * gateUp[row, width + column]
      }
    }
    return result
  }

  /// Outputs of attention, and of each soft-max the largest score and log Σ eˢ.
  struct Attention {
    var output: Table
    var logSumExp: Table
    var largest: Table
  }

  /// Attention of every row over the rows that it sees, by brute force; other rows stay zero.
  static func attention(
    _ fused: Table, heads: AttentionHeads, families: [AttentionFamily], window: Int? = nil
  ) -> Attention {
    let size = heads.size
    var output = Table(rows: fused.rows, columns: heads.queryCount * size)
    var logs = Table(rows: heads.queryCount, columns: fused.rows)
    var largest = logs
    for segment in families.flatMap(\.segments) {
      for row in segment.rows {
        let before = Array(segment.prefix) + Array(segment.rows.lowerBound...row)
        let visible = before.suffix(window ?? before.count)
        for head in 0..<heads.queryCount {
          let shared = head / (heads.queryCount / heads.keyValueCount)
          let key = (heads.queryCount + shared) * size
          let value = key + heads.keyValueCount * size
          var weights = visible.map { other in
            (0..<size).reduce(0.0) { $0 + fused[row, head * size + $1] * fused[other, key + $1] }
              / Double(size).squareRoot()
          }
          let logSum = logSumExp(weights)
          logs[head, row] = logSum
          largest[head, row] = weights.max() ?? 0
          weights = weights.map { exp($0 - logSum) }
          for (weight, other) in zip(weights, visible) {
            for index in 0..<size {
              output[row, head * size + index] += weight * fused[other, value + index]
            }
          }
        }
      }
    }
    return Attention(output: output, logSumExp: logs, largest: largest)
  }

  static func logSumExp(_ values: [Double]) -> Double {
    let largest = values.reduce(-Double.infinity, max)
    return largest + log(values.reduce(0) { $0 + exp($1 - largest) })
  }

  static func row(_ table: Table, _ index: Int) -> [Double] {
    (0..<table.columns).map { table[index, $0] }
  }
}
