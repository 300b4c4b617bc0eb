import Testing

@testable import Checkpoint

@Suite("Number types")
struct NumberTypeTests {
  /// Rounds one float and answers the stored 16 bits.
  func encoded(_ bits: UInt32, _ type: NumberType) -> (bits: UInt16, isFinite: Bool) {
    let source = [Float(bitPattern: bits)]
    var target: [UInt16] = [0]
    let isFinite = source.withUnsafeBufferPointer { source in
      target.withUnsafeMutableBytes { type.encode(source, into: $0) }
    }
    return (target[0], isFinite)
  }

  func decoded(_ bits: UInt16, _ type: NumberType) -> UInt32 {
    var target: [Float] = [0]
    [bits].withUnsafeBytes { source in
      target.withUnsafeMutableBufferPointer { type.decode(source, into: $0) }
    }
    return target[0].bitPattern
  }

  @Test(
    "bfloat16 rounds to nearest, ties to even",
    arguments: [
      (0x3F80_0000, 0x3F80), (0x3F80_8000, 0x3F80), (0x3F81_8000, 0x3F82),
      (0x3F80_8001, 0x3F81), (0x3F80_7FFF, 0x3F80), (0x0000_0000, 0x0000),
      (0x8000_0000, 0x8000), (0x7F80_0000, 0x7F80), (0xFF80_0000, 0xFF80),
      (0x0000_0001, 0x0000), (0x0000_8000, 0x0000), (0x0000_8001, 0x0001),
      (0x0001_8000, 0x0002), (0x807F_FFFF, 0x8080), (0x7F7F_7FFF, 0x7F7F),
      (0x7FC0_0000, 0x7FC0), (0x7F80_0001, 0x7FC0), (0xFFFF_FFFF, 0xFFFF),
    ] as [(UInt32, UInt16)])
  func bfloat16(input: UInt32, expected: UInt16) {
    #expect(encoded(input, .bf16) == (expected, true))
  }

  @Test(
    "binary16 rounds to nearest, ties to even",
    arguments: [
      (0x3F80_0000, 0x3C00), (0x3F80_1000, 0x3C00), (0x3F80_3000, 0x3C02),
      (0x3F80_1001, 0x3C01), (0x8000_0000, 0x8000), (0x7F80_0000, 0x7C00),
      (0x477F_E000, 0x7BFF), (0x477F_EFFF, 0x7BFF), (0x3380_0000, 0x0001),
      (0x3300_0000, 0x0000), (0x3300_0001, 0x0001), (0x33C0_0000, 0x0002),
      (0x3880_0000, 0x0400), (0x0000_0001, 0x0000), (0x7FC0_0000, 0x7E00),
    ] as [(UInt32, UInt16)])
  func binary16(input: UInt32, expected: UInt16) {
    #expect(encoded(input, .f16) == (expected, true))
  }

  @Test(
    "A finite number that becomes infinite is told",
    arguments: [
      (0x7F7F_8000, .bf16), (0xFF7F_FFFF, .bf16), (0x477F_F000, .f16), (0xC780_0000, .f16),
    ] as [(UInt32, NumberType)])
  func overflow(input: UInt32, type: NumberType) {
    #expect(!encoded(input, type).isFinite)
  }

  @Test(
    "Every 16-bit value survives the way to a float and back",
    arguments: [.bf16, .f16] as [NumberType])
  func roundTrip(type: NumberType) {
    let all = (0...UInt16.max).map { $0 }
    var floats = [Float](repeating: 0, count: all.count)
    var back = [UInt16](repeating: 0, count: all.count)
    all.withUnsafeBytes { source in
      floats.withUnsafeMutableBufferPointer { type.decode(source, into: $0) }
    }
    let isFinite = floats.withUnsafeBufferPointer { source in
      back.withUnsafeMutableBytes { type.encode(source, into: $0) }
    }
    #expect(isFinite)
    for (index, value) in all.enumerated() {
      if floats[index].isNaN {
        let quietBit: UInt16 = type == .bf16 ? 0x0040 : 0x0200
        #expect(back[index] == value | quietBit)
      } else {
        #expect(back[index] == value)
        let exact = type == .bf16 ? floats[index] : Float(Float16(floats[index]))
        #expect(exact == floats[index])
      }
    }
  }

  @Test("Known values are read exactly")
  func decoding() {
    #expect(decoded(0x3F80, .bf16) == 0x3F80_0000)
    #expect(decoded(0x0001, .bf16) == 0x0001_0000)
    #expect(decoded(0xFF80, .bf16) == 0xFF80_0000)
    #expect(decoded(0x0001, .f16) == 0x3380_0000)
    #expect(decoded(0x03FF, .f16) == 0x387F_C000)
    #expect(decoded(0x8000, .f16) == 0x8000_0000)
    #expect(decoded(0xFC00, .f16) == 0xFF80_0000)
    #expect(decoded(0x7BFF, .f16) == 0x477F_E000)
  }

  @Test("A placement must lie in its buffer")
  func placement() throws {
    let good = TensorPlacement(name: "a", shape: [2, 3], offset: 4)
    #expect(try good.range(inBufferOf: 10) == 4..<10)
    for (shape, offset) in [
      ([2, 3], 5), ([2, 3], -1), ([-1], 0), ([Int.max, 2], 0), ([Int.max], 1), ([1], Int.max),
    ] {
      let bad = TensorPlacement(name: "a", shape: shape, offset: offset)
      #expect(sentence { _ = try bad.range(inBufferOf: 10) }.contains("tensor \"a\""))
    }
  }
}
