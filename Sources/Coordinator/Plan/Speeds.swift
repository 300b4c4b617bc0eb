import Tensor

/// What one rank of a plan reaches while the other ranks of its node are as busy.
struct Speeds {
  let ceilings: Ceilings
  /// Type of the numbers that products read.
  let precision: Precision
  /// Threads of a rank, and ranks on its node.
  let threads: Int
  let ranksOnNode: Int

  /// Attention's products reach about so much of the ceiling: they are small, and the soft-max lies
  /// between them.
  static let attentionShare = 0.5
  /// Seconds that the soft-max over one logit takes a thread: exponential, sum, gradient.
  static let logitSeconds = 1e-9

  /// What a node's figure is multiplied by for one rank: products grow with the threads.
  private var productShare: Double { Double(threads) / Double(ceilings.threads) }

  /// Seconds of a product with so many weights and rows.
  ///
  /// Between the measured numbers of rows, seconds a weight are a straight line; beyond the most, the
  /// rate stays.
  func seconds(_ kind: MeasuredProduct, weights: Double, rows: Double) -> Double {
    guard weights > 0, rows > 0 else { return 0 }
    let forward = secondsPerWeight(rows: rows)
    return weights * forward * (rate(.forward) / rate(kind)) / productShare
  }

  /// Operations a second of attention.
  var attentionRate: Double { Speeds.attentionShare * rate(.forward) * productShare }

  /// Bytes a second of a way through memory; a node's ranks share it.
  func bandwidth(_ access: MemoryAccess) -> Double {
    let found = ceilings.accesses.filter { $0.access == access }
      .max { $0.threads < $1.threads }
    return (found?.rate.typical ?? 1e10) / Double(ranksOnNode)
  }

  /// The node's rate of the largest measured product of a kind; a kind that was not measured is as
  /// fast as the forward.
  private func rate(_ kind: MeasuredProduct) -> Double {
    let largest = measured(kind).max { $0.rows < $1.rows }
    return largest?.rate.typical ?? (kind == .forward ? 1e11 : rate(.forward))
  }

  /// Measured products of a kind with all threads; f32 where there is no figure for the type.
  private func measured(_ kind: MeasuredProduct) -> [Ceilings.Product] {
    let all = ceilings.products.filter { $0.kind == kind && $0.threads == ceilings.threads }
    let ofType = all.filter { $0.type == precision.rawValue }
    return ofType.isEmpty ? all.filter { $0.type == "f32" } : ofType
  }

  /// Seconds that the node takes for one weight in a forward product of so many rows.
  private func secondsPerWeight(rows: Double) -> Double {
    var points: [(rows: Double, seconds: Double)] = []
    for product in measured(.forward).sorted(by: { $0.rows < $1.rows }) {
      let seconds = 2 * Double(product.rows) / product.rate.typical
      if let last = points.last, last.rows == Double(product.rows) {
        points[points.count - 1].seconds = min(last.seconds, seconds)
      } else {
        points.append((Double(product.rows), seconds))
      }
    }
    guard let first = points.first, let last = points.last else { return 2 * rows / 1e11 }
    if rows <= first.rows { return first.seconds }
    if rows >= last.rows { return last.seconds * rows / last.rows }
    let upper = points.firstIndex { $0.rows >= rows } ?? points.count - 1
    let (a, b) = (points[max(0, upper - 1)], points[upper])
    guard b.rows > a.rows else { return b.seconds }
    return a.seconds + (b.seconds - a.seconds) * (rows - a.rows) / (b.rows - a.rows)
  }
}

extension Ceilings {
  /// What a plan takes where nothing was measured: a core with AVX-512 for each thread.
  static func assumed(threads: Int, hasBF16: Bool) -> Ceilings {
    var ceilings = Ceilings(
      host: "", cpu: "assumed: a core with AVX-512 a thread", threads: threads,
      kernels: "oneDNN brg")
    // One core of an EPYC with AVX-512, measured: GFLOP/s by rows (plain weights).
    let rates: [(type: String, rows: Int, gigaflops: Double)] = [
      ("f32", 1, 12), ("f32", 8, 91), ("f32", 32, 90), ("f32", 512, 100), ("f32", 1600, 105),
      ("bf16", 1, 30), ("bf16", 8, 134), ("bf16", 32, 188), ("bf16", 512, 210),
      ("bf16", 1600, 220),
    ]
    for rate in rates where hasBF16 || rate.type == "f32" {
      ceilings.products.append(
        Product(
          kind: .forward, type: rate.type, rows: rate.rows, columns: 2816, inner: 1024,
          threads: threads,
          rate: MeasuredRate(always: Double(threads) * rate.gigaflops * 1e9)))
    }
    // Two cores reach 30 GB/s; a socket has some eight times that.
    let bytes = min(15e9 * Double(threads), 240e9)
    ceilings.accesses = MemoryAccess.allCases.map {
      Access(access: $0, threads: threads, rate: MeasuredRate(always: bytes))
    }
    return ceilings
  }
}
