import Comm
import Tensor

/// The products and accesses that `sail doctor` measures: shapes of Qwen1.5-0.5B's layers.
enum SpeedSurvey {
  /// One product to measure.
  struct Product {
    var kind: MeasuredProduct
    var rows: Int
    var columns: Int
    var inner: Int
    /// Whether one thread a rank is measured too.
    var isMeasuredAlone = false
  }

  static let products = [
    Product(kind: .forward, rows: 1600, columns: 2816, inner: 1024, isMeasuredAlone: true),
    Product(kind: .inputGradient, rows: 1600, columns: 2816, inner: 1024),
    Product(kind: .weightGradient, rows: 1600, columns: 2816, inner: 1024),
    Product(kind: .forward, rows: 1600, columns: 1024, inner: 1024),
    Product(kind: .forward, rows: 512, columns: 2816, inner: 1024),
    Product(kind: .forward, rows: 512, columns: 1024, inner: 1024),
    // The vocabulary projection, cut to a size that is measured soon.
    Product(kind: .forward, rows: 256, columns: 16384, inner: 1024),
    // Decoding one, eight and 32 rows.
    Product(kind: .forward, rows: 1, columns: 5632, inner: 1024, isMeasuredAlone: true),
    Product(kind: .forward, rows: 8, columns: 5632, inner: 1024, isMeasuredAlone: true),
    Product(kind: .forward, rows: 32, columns: 5632, inner: 1024, isMeasuredAlone: true),
  ]

  /// Seconds for each.
  static let seconds = 0.15

  /// Floats of each rank's gradient in the measured sum.
  static let gradientCount = 1 << 24

  /// Bytes of memory that a rank measures with: beyond the caches, far below what is free.
  static func memoryBytes(of machine: Machine, ranksOnNode: Int) -> Int {
    let wanted = min(max(3 * machine.cacheBytes, 256e6), 1e9, machine.availableBytes / 4)
    return max(1 << 27, Int(wanted) / max(1, ranksOnNode))
  }
}

extension SpeedSurvey {
  /// Measures on all ranks at once and adds up the rates of this rank's node; collective.
  ///
  /// - Parameters:
  ///   - machine: the node.
  ///   - threads: threads of this rank.
  ///   - communicator: all ranks.
  ///   - onItem: says what is measured next, and which share is done.
  /// - Returns: the node's ceilings.
  /// - Throws: an error of MPI.
  static func measure(
    _ machine: Machine, threads: Int, communicator: borrowing Communicator,
    onItem: (_ name: String, _ share: Double) -> Void
  ) throws -> Ceilings {
    let measurement = SpeedMeasurement(
      memoryBytes: memoryBytes(of: machine, ranksOnNode: communicator.nodeSize))
    let all = Compute(threadCount: threads)
    let threadsOfRank = Array(try communicator.allGather([threads]).joined())
    let ofNode = communicator.nodeOfRank.indices.filter {
      communicator.nodeOfRank[$0] == communicator.nodeOfRank[communicator.rank]
    }
    let nodeThreads = ofNode.reduce(0) { $0 + threadsOfRank[$1] }
    // The same list on every rank, so that all are busy at once.
    let hasSeveral = threadsOfRank.contains { $0 > 1 }
    let multipliesBF16 = try communicator.allGather([all.multipliesBF16 ? 1 : 0]).joined()
    let precisions: [Precision] = multipliesBF16.allSatisfy { $0 == 1 } ? [.f32, .bf16] : [.f32]
    let computes = hasSeveral ? [Compute(threadCount: 1), all] : [all]
    var ceilings = Ceilings(
      host: machine.host, cpu: machine.cpu, threads: nodeThreads, kernels: all.kernelName)

    var rates: [MeasuredRate] = []
    let count = Double(
      precisions.count * products.count
        + (hasSeveral ? precisions.count * products.count { $0.isMeasuredAlone } : 0)
        + computes.count * MemoryAccess.allCases.count)
    for compute in computes {
      let threads = compute === all ? nodeThreads : communicator.nodeSize
      for precision in precisions {
        for product in products where compute === all || product.isMeasuredAlone {
          onItem("products", Double(rates.count) / count)
          try communicator.barrier()
          rates.append(
            measurement.productRate(
              product.kind, precision: precision, rows: product.rows, columns: product.columns,
              inner: product.inner, seconds: seconds, on: compute))
          ceilings.products.append(
            .init(
              kind: product.kind, type: precision.rawValue, rows: product.rows,
              columns: product.columns, inner: product.inner, threads: threads,
              rate: MeasuredRate(best: 0, typical: 0)))
        }
      }
    }
    for compute in computes {
      let threads = compute === all ? nodeThreads : communicator.nodeSize
      for access in MemoryAccess.allCases {
        onItem("memory", Double(rates.count) / count)
        try communicator.barrier()
        rates.append(measurement.bandwidth(access, seconds: seconds, on: compute))
        ceilings.accesses.append(
          .init(
            access: access, threads: threads, rate: MeasuredRate(best: 0, typical: 0)))
      }
    }
    let everyRank = try communicator.allGather(rates.flatMap { [$0.best, $0.typical] })
    let sums = rates.indices.map { index in
      MeasuredRate(
        best: ofNode.reduce(0) { $0 + everyRank[$1][2 * index] },
        typical: ofNode.reduce(0) { $0 + everyRank[$1][2 * index + 1] })
    }
    for index in ceilings.products.indices { ceilings.products[index].rate = sums[index] }
    for index in ceilings.accesses.indices {
      ceilings.accesses[index].rate = sums[ceilings.products.count + index]
    }
    return ceilings
  }

  /// Bytes of all ranks' gradients a second in the ordered sum; nil for one rank; collective.
  ///
  /// - Throws: an error if a node lacks shared memory.
  static func sumRate(communicator: borrowing Communicator) throws -> Double? {
    guard communicator.size > 1 else { return nil }
    let memory = try NodeMemory(
      communicator: communicator, arrays: [("gradient", gradientCount, .perRank)])
    let slices = OptimizerState.slices(
      floatCount: gradientCount, rankCount: communicator.size)
    let accumulator = UnsafeMutableBufferPointer<Float>.allocate(
      capacity: slices[communicator.rank].count)
    defer { accumulator.deallocate() }
    accumulator.initialize(repeating: 0)
    var best = Double.infinity
    for _ in 0..<5 {
      try communicator.barrier()
      let start = Stopwatch.now
      try memory.orderedSum(
        gradient: 0, slices: slices, contributors: Array(0..<communicator.size),
        into: accumulator)
      best = min(best, max(Stopwatch.now - start, 1e-9))
    }
    try memory.release()
    let slowest = try communicator.allGather([best]).joined().max() ?? best
    return 4 * Double(gradientCount) * Double(communicator.size) / slowest
  }
}
