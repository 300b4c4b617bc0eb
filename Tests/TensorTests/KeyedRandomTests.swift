import Testing

@testable import Tensor

@Suite struct KeyedRandomTests {
  /// The vectors published with Random123 (kat_vectors, philox4x32-10).
  @Test func philoxGivesThePublishedVectors() {
    typealias Four = (UInt32, UInt32, UInt32, UInt32)
    let cases: [(counter: Four, key: (UInt32, UInt32), output: Four)] = [
      ((0, 0, 0, 0), (0, 0), (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)),
      (
        (.max, .max, .max, .max), (.max, .max),
        (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
      ),
      (
        (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), (0xa409_3822, 0x299f_31d0),
        (0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)
      ),
    ]
    for item in cases {
      #expect(KeyedRandom.philox(counter: item.counter, key: item.key) == item.output)
    }
  }

  /// How seed, purpose and arguments become key and counter is part of every run's results.
  @Test func drawsStayWhatTheyAre() {
    let sampling = KeyedRandom(seed: 42, purpose: .sampling)
    #expect(sampling.bits(step: 3, row: 5, sample: 1, position: 7) == 0x7fc7_d83a_0974_1ec4)
    #expect(
      sampling.uniform(step: 3, row: 5, sample: 1, position: 7) == 0x1.ff1f60e825d06p-2)
    #expect(
      KeyedRandom(seed: 0, purpose: .initialization).bits(step: 0) == 0xbe8c_3333_c3c1_120d)
    #expect(
      KeyedRandom(seed: .max, purpose: .synthetic)
        .bits(step: 1 << 31, row: 2, sample: 3, position: 4) == 0xa3a5_7680_fd07_c627)
    #expect(
      KeyedRandom(seed: 42, purpose: .shuffle).permutation(count: 10, step: 4)
        == [3, 5, 1, 0, 9, 4, 2, 7, 8, 6])
  }

  /// Purposes, seeds and each argument lead to other draws: no two of 4000 share their bits.
  @Test func differentKeysGiveDifferentBits() {
    var seen: [UInt64] = []
    let purposes: [DrawPurpose] = [
      .initialization, .shuffle, .split, .route, .sampling, .label, .synthetic, .evaluation,
    ]
    for seed in [0, 1, 2, 1 << 32, 1 << 63] as [UInt64] {
      for purpose in purposes {
        let random = KeyedRandom(seed: seed, purpose: purpose)
        for number in 0..<25 {
          seen.append(random.bits(step: number + 1))
          seen.append(random.bits(step: 0, row: number + 1))
          seen.append(random.bits(step: 0, row: 0, sample: number + 1))
          seen.append(random.bits(step: 0, row: 0, sample: 0, position: number + 1))
        }
      }
    }
    #expect(Set(seen).count == seen.count)
  }

  /// 64 bins of 40 000 draws; false alarm for one seed in a million.
  @Test func uniformIsUniform() {
    let random = KeyedRandom(seed: 3, purpose: .label)
    var counts = [Int](repeating: 0, count: 64)
    for row in 0..<40_000 {
      // A draw outside [0, 1) has no place here and traps.
      counts[Int((random.uniform(step: 1, row: row) * 64).rounded(.down))] += 1
    }
    expectFrequencies(counts, [Double](repeating: 1 / 64, count: 64))
  }

  @Test func permutationIsAPermutation() {
    let random = KeyedRandom(seed: 9, purpose: .shuffle)
    for count in [0, 1, 2, 3, 10, 1001] {
      let order = random.permutation(count: count, step: 2)
      #expect(order.sorted() == Array(0..<count))
      #expect(order == random.permutation(count: count, step: 2))
    }
    #expect(
      random.permutation(count: 1001, step: 2) != random.permutation(count: 1001, step: 3))
  }

  /// All 24 orders of four things come up alike; false alarm for one seed in a million.
  @Test func permutationsAreUniform() {
    let random = KeyedRandom(seed: 10, purpose: .shuffle)
    var counts = [Int](repeating: 0, count: 256)
    for step in 0..<24_000 {
      let order = random.permutation(count: 4, step: step)
      counts[order.reduce(0) { $0 * 4 + $1 }] += 1
    }
    let seen = counts.filter { $0 > 0 }
    #expect(seen.count == 24)
    expectFrequencies(seen, [Double](repeating: 1 / 24, count: seen.count))
  }
}

@Suite struct NormalDrawsTests {
  @Test func numbersDependOnTheirIndexAlone() {
    let random = KeyedRandom(seed: 5, purpose: .initialization)
    let long = Operand(rows: 1, columns: 101)
    fillNormal(long.base, count: 101, deviation: 0.02, random: random, key: 4)
    for count in [1, 2, 7, 100] {
      let short = Operand(rows: 1, columns: count)
      fillNormal(short.base, count: count, deviation: 0.02, random: random, key: 4)
      expectEqual(short.bits, Array(long.bits[..<count]))
      #expect(short.isGuardIntact)
    }
    // Parts in any order fill what the whole does; places of other parts are left alone.
    let parts = Operand(rows: 1, columns: 101)
    for pairs in [40..<51, 0..<1, 1..<40] {
      fillNormal(
        parts.base, count: 101, deviation: 0.02, random: random, key: 4, pairs: pairs)
      if pairs == 40..<51 { #expect(parts.floats[..<80].allSatisfy { $0 == 777 }) }
    }
    expectEqual(parts.bits, long.bits)
    #expect(parts.isGuardIntact)
    let other = Operand(rows: 1, columns: 101)
    fillNormal(other.base, count: 101, deviation: 0.02, random: random, key: 5)
    #expect(other.bits != long.bits)
  }

  /// Mean and deviation within 5 standard errors, and the share in each eighth of the normal
  /// distribution by χ².
  @Test func numbersAreNormal() {
    let count = 40_000
    let numbers = Operand(rows: 1, columns: count)
    fillNormal(
      numbers.base, count: count, deviation: 3,
      random: KeyedRandom(seed: 6, purpose: .initialization), key: 0)
    let values = numbers.table.values.map { $0 / 3 }
    let mean = values.reduce(0, +) / Double(count)
    let variance = values.reduce(0) { $0 + $1 * $1 } / Double(count)
    let unit = 1 / Double(count).squareRoot()
    #expect(abs(mean) < 5 * unit)
    #expect(abs(variance - 1) < 5 * unit * 2.0.squareRoot())
    // The eighths end at the quantiles ±1.1503, ±0.6745, ±0.3186, 0.
    let ends = [-1.150349, -0.674490, -0.318639, 0, 0.318639, 0.674490, 1.150349]
    var counts = [Int](repeating: 0, count: 8)
    for value in values { counts[ends.filter { $0 < value }.count] += 1 }
    expectFrequencies(counts, [Double](repeating: 1 / 8, count: 8))
    let neighbours = zip(values, values.dropFirst()).reduce(0) { $0 + $1.0 * $1.1 }
    #expect(abs(neighbours / Double(count)) < 5 * unit)
  }

  @Test func eightBlocksAreEightTimesOne() {
    let random = KeyedRandom(seed: 3, purpose: .dropout, step: 1 << 40)
    for first in [0, 7, 1 << 20, UInt32.max - 3] {
      var found = [UInt32](repeating: 0, count: 32)
      found.withUnsafeMutableBufferPointer { buffer in
        if let base = buffer.baseAddress { random.blocks((5, .max, 9, first), into: base) }
      }
      let expected = (0..<8).flatMap { lane -> [UInt32] in
        let block = random.block((5, .max, 9, first &+ UInt32(lane)))
        return [block.0, block.1, block.2, block.3]
      }
      #expect(found == expected)
    }
  }
}
