import Tensor
import Testing

/// Numbers whose first `splitCount` lie in two halves, behind guards.
private final class SplitWeights {
  let count: Int
  let splitCount: Int
  private let rounded: OperandBuffer
  private let remainders: OperandBuffer
  private let floats: FloatBuffer

  init(count: Int, splitCount: Int) {
    (self.count, self.splitCount) = (count, splitCount)
    rounded = OperandBuffer(count: splitCount, precision: .bf16)
    remainders = OperandBuffer(count: splitCount, precision: .bf16)
    floats = FloatBuffer(count: count - splitCount)
  }

  convenience init(_ bits: [UInt32], splitCount: Int? = nil) {
    self.init(count: bits.count, splitCount: splitCount ?? bits.count)
    masters.write(bits.map { Float(bitPattern: $0) }, to: 0..<count)
  }

  var masters: MasterWeights {
    MasterWeights(
      rounded: halves(rounded),
      remainders: UnsafeMutableRawPointer(halves(remainders)).assumingMemoryBound(to: Int16.self),
      splitCount: splitCount, floats: floats.base, count: count)
  }

  private func halves(_ buffer: OperandBuffer) -> UnsafeMutablePointer<UInt16> {
    buffer.matrix(rows: 1, columns: splitCount).base.assumingMemoryBound(to: UInt16.self)
  }

  /// What products read.
  var operands: [UInt16] { (0..<splitCount).map { halves(rounded)[$0] } }
  var remainderBits: [UInt16] { (0..<splitCount).map { halves(remainders)[$0] } }
  var bits: [UInt32] { masters.bits(0..<count) }
}

extension MasterWeights {
  fileprivate func bits(_ range: Range<Int>) -> [UInt32] {
    var floats = [Float](repeating: 0, count: range.count)
    read(range, into: &floats)
    return floats.map(\.bitPattern)
  }
}

/// The float that two halves keep of one: itself, but one place less just half way above an even bf16.
private func kept(_ bits: UInt32) -> UInt32 { bits & 0x1_FFFF == 0x8000 ? bits - 1 : bits }

/// Random numbers of all sizes, every eighth half way between two of bf16.
private func randomBits(_ count: Int, seed: UInt64) -> [UInt32] {
  var random = TestRandom(state: seed)
  return (0..<count).map { index in
    let bits = Float(random.normal() * 0.05).bitPattern
    return index % 8 == 3 ? bits & 0xFFFF_0000 | 0x8000 : bits
  }
}

@Suite struct MasterWeightsTests {
  /// Every lower half below upper halves of both parities, both signs, subnormals and the largest.
  @Test func halvesKeepTheFloat() {
    for upper: UInt32 in [0x3F80, 0x3F81, 0xBDCC, 0xBDCD, 0, 0x8000, 1, 0x007F, 0x7F7F, 0xFF7E] {
      let bits = (UInt32(0)...0xFFFF).map { upper << 16 | $0 }
      let weights = SplitWeights(bits)
      #expect(weights.bits == bits.map(kept))
      #expect(weights.operands == bits.map { nearestBF16(Float(bitPattern: $0)) })
    }
  }

  /// Infinities stay; a NaN stays one, whatever its lower half.
  @Test func whatIsNoNumberStaysNone() {
    let weights = SplitWeights([0x7F80_0000, 0xFF80_0000, 0x7F80_0001, 0xFFFF_FFFF, 0x7FC0_0000])
    #expect(weights.bits == [0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0xFFFF_0000, 0x7FC0_0000])
    #expect(!Compute(threadCount: 1).squaredNorms(weights.masters)[0].isFinite)
  }

  /// What is written once more is kept as it was, so that checkpoints change nothing.
  @Test func writingAgainChangesNothing() {
    let weights = SplitWeights(randomBits(1000, seed: 1), splitCount: 600)
    let again = SplitWeights(weights.bits, splitCount: 600)
    #expect(again.bits == weights.bits)
    #expect(again.operands == weights.operands)
  }

  @Test(arguments: [0..<50, 20..<37, 37..<50, 36..<38, 12..<12, 40..<41])
  func slicesAreTheSameMemory(_ range: Range<Int>) {
    let weights = SplitWeights(randomBits(50, seed: 2), splitCount: 37)
    let before = weights.bits
    let slice = weights.masters[range]
    #expect(slice.count == range.count)
    #expect(slice.bits(0..<slice.count) == Array(before[range]))
    slice.write([Float](repeating: 0.1, count: range.count), to: 0..<range.count)
    for (index, bits) in weights.bits.enumerated() {
      #expect(bits == (range.contains(index) ? Float(0.1).bitPattern : before[index]))
    }
  }

  /// First content that is bf16 leaves the remainders' memory alone, any other does not.
  @Test func fillTouchesRemaindersOnlyForFloats() {
    let numbers = randomBits(64, seed: 3)
    let weights = SplitWeights([UInt32](repeating: 0x3F80_1234, count: 64))
    let before = weights.remainderBits
    weights.masters.fill(
      numbers[..<32].map { Float(bitPattern: $0 & 0xFFFF_0000) }, at: 0..<32)
    #expect(weights.remainderBits == before)
    #expect(weights.operands[..<32].elementsEqual(numbers[..<32].map { UInt16($0 >> 16) }))
    weights.masters.fill(numbers[32...].map { Float(bitPattern: $0) }, at: 32..<64)
    #expect(weights.bits[32...].elementsEqual(numbers[32...].map(kept)))
    #expect(weights.remainderBits[..<32].elementsEqual(before[..<32]))
  }

  /// Optimizers give the bits that they give on floats, in vectors and matrices, over a block's end.
  @Test(arguments: [1, 2, 3]) func optimizersAreThoseOfFloats(threadCount: Int) {
    let compute = Compute(threadCount: threadCount)
    let (count, splitCount) = (9001, 5003)
    let start = randomBits(count, seed: 4).map(kept)
    let weights = SplitWeights(start, splitCount: splitCount)
    let floats = Operand(Table(rows: 1, columns: count))
    let rules: [(MasterWeights, Operand, [Operand]) -> Void] = [
      { weights, gradient, state in
        compute.adamW(
          weights: weights, gradient: gradient.base, scale: 0.5, first: state[0].base,
          second: state[1].base,
          constants: AdamWStep(
            learningRate: 1e-3, betas: (0.9, 0.99), epsilon: 1e-8, weightDecay: 0.1, step: 2))
      },
      { weights, gradient, state in
        compute.sgd(
          weights: weights, gradient: gradient.base, scale: 0.5, velocity: state[0].base,
          learningRate: 1e-3, momentum: 0.9, weightDecay: 0.1, isFirst: false)
      },
      { weights, gradient, _ in
        compute.sgd(
          weights: weights, gradient: gradient.base, scale: 0.5, velocity: nil,
          learningRate: 1e-3, momentum: 0, weightDecay: 0.1, isFirst: false)
      },
      { weights, gradient, state in
        compute.rmsProp(
          weights: weights, gradient: gradient.base, scale: 0.5, squares: state[1].base,
          velocity: state[0].base,
          constants: RMSPropStep(
            learningRate: 1e-3, alpha: 0.9, epsilon: 1e-8, weightDecay: 0.1, momentum: 0.9))
      },
      { weights, gradient, state in
        compute.rmsProp(
          weights: weights, gradient: gradient.base, scale: 0.5, squares: state[1].base,
          velocity: nil,
          constants: RMSPropStep(
            learningRate: 1e-3, alpha: 0.9, epsilon: 1e-8, weightDecay: 0.1, momentum: 0))
      },
      { weights, gradient, _ in compute.displace(weights, by: 1e-3, along: gradient.base) },
    ]
    for (number, rule) in rules.enumerated() {
      let gradient = Operand(Table(rows: 1, columns: count, seed: UInt64(160 + number)))
      func state() -> [Operand] {
        let squares = Table(rows: 1, columns: count, seed: 170).filled(0.25)
        return [Operand(Table(rows: 1, columns: count, seed: 171)), Operand(squares)]
      }
      let (ofHalves, ofFloats) = (state(), state())
      let before = weights.bits
      floats.masters.write(before.map { Float(bitPattern: $0) }, to: 0..<count)
      rule(weights.masters, gradient, ofHalves)
      rule(floats.masters, gradient, ofFloats)
      let expected = floats.masters.bits(0..<count)
      #expect(expected != before)
      #expect(weights.bits == expected[..<splitCount].map(kept) + expected[splitCount...])
      #expect(zip(ofHalves, ofFloats).allSatisfy { $0.bits == $1.bits })
    }
  }

  @Test func squaredNormsAreThoseOfFloats() {
    let count = Compute.normBlock + 77
    let weights = SplitWeights(randomBits(count, seed: 5), splitCount: count - 100)
    let floats = weights.bits.map { Float(bitPattern: $0) }
    let compute = Compute(threadCount: 2)
    #expect(compute.squaredNorms(weights.masters) == compute.squaredNorms(floats, count: count))
  }
}
