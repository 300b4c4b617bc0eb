import Foundation
import Tensor

/// The draws of one drawn thing, in order: a pure function of the seed and the key.
struct Draws {
  /// What is drawn: different streams of the same key share no bits.
  enum Stream: Int {
    case request = 0
    case answer = 1
    case label = 2
  }

  private let random: KeyedRandom
  private let key: (step: Int, row: Int, sample: Int)
  private var position: Int

  init(_ random: KeyedRandom, stream: Stream, key: UInt64, sample: Int = 0) {
    self.random = random
    self.key = (Int(key >> 32), Int(key & 0xFFFF_FFFF), sample)
    position = stream.rawValue << 24
  }

  /// A uniform number in [0, 1).
  mutating func uniform() -> Double {
    defer { position += 1 }
    return random.uniform(step: key.step, row: key.row, sample: key.sample, position: position)
  }

  /// True with the given probability.
  mutating func chance(_ probability: Double) -> Bool { uniform() < probability }

  /// A whole number in `0..<count`; `count` is at least 1.
  mutating func index(_ count: Int) -> Int { min(count - 1, Int(uniform() * Double(count))) }

  /// One of the choices, which are not empty.
  mutating func pick<Choice>(_ choices: [Choice]) -> Choice { choices[index(choices.count)] }

  /// An index drawn with the given weights, which sum to 1.
  mutating func weighted(_ weights: [Double]) -> Int {
    var rest = uniform()
    for (index, weight) in weights.enumerated() {
      rest -= weight
      if rest < 0 { return index }
    }
    return weights.count - 1
  }

  /// A random order (Fisher–Yates).
  mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
    var order = elements
    for last in stride(from: order.count - 1, to: 0, by: -1) {
      order.swapAt(last, index(last + 1))
    }
    return order
  }
}

/// FNV-1a over the bytes of a text: a key for draws that belong to that text.
func textKey(_ text: String) -> UInt64 {
  var hash: UInt64 = 0xCBF2_9CE4_8422_2325
  for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
  return hash
}

/// The logistic function.
func sigmoid(_ value: Double) -> Double { 1 / (1 + exp(-value)) }
