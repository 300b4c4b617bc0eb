/// A number type of stored weights, named as in safetensors files.
public enum NumberType: String, Sendable, CaseIterable {
  /// IEEE binary32.
  case f32 = "F32"
  /// bfloat16: the upper half of a binary32.
  case bf16 = "BF16"
  /// IEEE binary16.
  case f16 = "F16"

  /// The bytes of one number.
  public var byteCount: Int { self == .f32 ? 4 : 2 }
}

extension NumberType {
  /// Converts stored little-endian numbers to floats; every value is exact.
  ///
  /// `source` is aligned for its type and holds as many numbers as `destination`.
  func decode(
    _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableBufferPointer<Float>
  ) {
    precondition(source.count == destination.count * byteCount, "as many numbers as places")
    switch self {
    case .f32: UnsafeMutableRawBufferPointer(destination).copyMemory(from: source)
    case .bf16:
      let bits = source.bindMemory(to: UInt16.self)
      for index in destination.indices {
        destination[index] = Float(bitPattern: UInt32(bits[index]) << 16)
      }
    case .f16:
      let bits = source.bindMemory(to: UInt16.self)
      for index in destination.indices {
        destination[index] = Float(Float16(bitPattern: bits[index]))
      }
    }
  }

  /// Converts floats to stored little-endian numbers, rounding to nearest, ties to even.
  ///
  /// NaN stays NaN, infinity stays infinity, denormals are kept. A finite number beyond the type's
  /// range becomes infinity, and the answer is then false.
  func encode(
    _ source: UnsafeBufferPointer<Float>, into destination: UnsafeMutableRawBufferPointer
  ) -> Bool {
    precondition(destination.count == source.count * byteCount, "as many places as numbers")
    var overflowCount: UInt32 = 0
    switch self {
    case .f32: destination.copyMemory(from: UnsafeRawBufferPointer(source))
    case .bf16:
      let results = destination.bindMemory(to: UInt16.self)
      for index in source.indices {
        let bits = source[index].bitPattern
        let magnitude = bits & 0x7FFF_FFFF
        let rounded = (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16
        // A NaN keeps its sign and upper payload and is made quiet, lest rounding make it infinite.
        let result = magnitude > 0x7F80_0000 ? (bits >> 16) | 0x0040 : rounded
        results[index] = UInt16(truncatingIfNeeded: result)
        overflowCount |= magnitude < 0x7F80_0000 && result & 0x7FFF == 0x7F80 ? 1 : 0
      }
    case .f16:
      let results = destination.bindMemory(to: UInt16.self)
      for index in source.indices {
        let result = Float16(source[index])
        results[index] = result.bitPattern
        overflowCount |= result.isInfinite && source[index].isFinite ? 1 : 0
      }
    }
    return overflowCount == 0
  }
}

/// Where a tensor lies in a flat buffer of floats.
public struct TensorPlacement: Sendable {
  /// The name in safetensors files.
  public var name: String
  /// The shape, row-major.
  public var shape: [Int]
  /// The first float's index in the flat buffer.
  public var offset: Int

  /// A placement from its parts.
  public init(name: String, shape: [Int], offset: Int) {
    self.name = name
    self.shape = shape
    self.offset = offset
  }

  /// The floats of this tensor in a buffer of `count` floats.
  ///
  /// - Throws: if they don't lie in it.
  func range(inBufferOf count: Int) throws(CheckpointError) -> Range<Int> {
    guard let size = elementCount(shape), offset >= 0 else {
      throw CheckpointError("tensor \(quoted(name)): no tensor has shape \(shape) at \(offset)")
    }
    let (end, isOverflow) = offset.addingReportingOverflow(size)
    guard !isOverflow, end <= count else {
      throw CheckpointError(
        "tensor \(quoted(name)): \(size) floats at \(offset) don't fit a buffer of \(count)")
    }
    return offset..<end
  }
}

extension NumberType {
  /// What a file of this type keeps of a number, nil for a finite one that is too large for it.
  public func rounded(_ numbers: UnsafeBufferPointer<Float>) -> [Float]? {
    var bytes = [UInt8](repeating: 0, count: numbers.count * byteCount)
    var result = [Float](repeating: 0, count: numbers.count)
    let fits = bytes.withUnsafeMutableBytes { raw in
      guard encode(numbers, into: raw) else { return false }
      result.withUnsafeMutableBufferPointer { decode(UnsafeRawBufferPointer(raw), into: $0) }
      return true
    }
    return fits ? result : nil
  }
}
