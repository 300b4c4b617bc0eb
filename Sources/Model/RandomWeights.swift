import Glibc
import Tensor

/// Takes floats that belong to consecutive places of a table from `offset` on; called from several
/// threads, for different places.
public typealias WeightSink = (_ floats: UnsafeBufferPointer<Float>, _ offset: Int) -> Void

// Pairs of numbers drawn at a time.
private let pieceLength = 1 << 15

/// Draws part of a decoder's random weights as transformers initialises them.
///
/// Matrices are normal with the configuration's `initializer_range`, biases 0, norm weights 1. Each
/// number is keyed by (seed, tensor, index), so that all parts together are the same for any cut.
/// - Parameters:
///   - table: where each tensor lies.
///   - configuration: the decoder.
///   - seed: seed of the weights.
///   - part: this part's number, from 0.
///   - partCount: how many parts there are.
///   - pool: the threads.
///   - sink: takes the weights.
public func initializeWeights(
  table: ParameterTable, configuration: DecoderConfiguration, seed: UInt64, part: Int = 0,
  of partCount: Int = 1, pool: ThreadPool, sink: WeightSink
) {
  for number in table.parameters.indices {
    initializeTensor(
      number, table: table, configuration: configuration, seed: seed, part: part, of: partCount,
      pool: pool, sink: sink)
  }
}

/// Draws the tensors of a decoder's own head as
/// ``initializeWeights(table:configuration:seed:part:of:pool:sink:)`` does, and nothing else.
public func initializeHead(
  table: ParameterTable, configuration: DecoderConfiguration, seed: UInt64, sink: WeightSink
) {
  let pool = ThreadPool(threadCount: 1)
  for number in table.headParameters {
    initializeTensor(
      number, table: table, configuration: configuration, seed: seed, part: 0, of: 1, pool: pool,
      sink: sink)
  }
}

private func initializeTensor(
  _ number: Int, table: ParameterTable, configuration: DecoderConfiguration, seed: UInt64,
  part: Int, of partCount: Int, pool: ThreadPool, sink: WeightSink
) {
  let random = KeyedRandom(seed: seed, purpose: .initialization)
  let parameter = table.parameters[number]
  if parameter.shape.count > 1 {
    let pairCount = (parameter.count + 1) / 2
    let pairs = pairCount * part / partCount..<pairCount * (part + 1) / partCount
    pool.run((pairs.count + pieceLength - 1) / pieceLength) { task, _ in
      let first = pairs.lowerBound + task * pieceLength
      let piece = first..<min(pairs.upperBound, first + pieceLength)
      let count = min(2 * piece.count, parameter.count - 2 * first)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * piece.count) { floats in
        guard let base = floats.baseAddress else { return }
        fillNormal(
          base - 2 * first, count: parameter.count, deviation: configuration.initializerRange,
          random: random, key: number, pairs: piece)
        sink(UnsafeBufferPointer(rebasing: floats[..<count]), parameter.offset + 2 * first)
      }
    }
  } else if part == 0 {
    let value: Float = parameter.name.hasSuffix("norm.weight") ? 1 : 0
    [Float](repeating: value, count: parameter.count).withUnsafeBufferPointer {
      sink($0, parameter.offset)
    }
  }
}

extension ParameterTable {
  /// Draws all weights into a flat allocation of `floatCount` floats.
  public func initialize(
    _ weights: UnsafeMutablePointer<Float>, configuration: DecoderConfiguration, seed: UInt64
  ) {
    initializeWeights(
      table: self, configuration: configuration, seed: seed, pool: ThreadPool(threadCount: 1)
    ) { floats, offset in
      guard let source = floats.baseAddress else { return }
      (weights + offset).update(from: source, count: floats.count)
    }
  }
}
