// Eight lanes: the width of AVX2, which the Tensor target is compiled for.
typealias Vector = SIMD8<Float>
let vectorWidth = 8

typealias Floats = UnsafeMutablePointer<Float>
typealias ConstantFloats = UnsafePointer<Float>

extension UnsafePointer<Float> {
  @inline(__always)
  func vector(_ index: Int) -> Vector {
    UnsafeRawPointer(self + index).loadUnaligned(as: Vector.self)
  }
}

extension UnsafeMutablePointer<Float> {
  @inline(__always)
  func vector(_ index: Int) -> Vector {
    UnsafeRawPointer(self + index).loadUnaligned(as: Vector.self)
  }

  @inline(__always)
  func store(_ value: Vector, _ index: Int) {
    UnsafeMutableRawPointer(self + index).storeBytes(of: value, as: Vector.self)
  }
}

/// Sum of the eight lanes in a fixed tree.
@inline(__always)
func sumOfLanes(_ value: Vector) -> Float {
  let four = value.lowHalf + value.highHalf
  let two = four.lowHalf + four.highHalf
  return two.x + two.y
}

/// Dot product; four accumulators of eight lanes, then a fixed tree, then the tail in order.
func dot(_ a: ConstantFloats, _ b: ConstantFloats, count: Int) -> Float {
  var sum0 = Vector.zero
  var sum1 = Vector.zero
  var sum2 = Vector.zero
  var sum3 = Vector.zero
  var index = 0
  while index + 32 <= count {
    sum0.addProduct(a.vector(index), b.vector(index))
    sum1.addProduct(a.vector(index + 8), b.vector(index + 8))
    sum2.addProduct(a.vector(index + 16), b.vector(index + 16))
    sum3.addProduct(a.vector(index + 24), b.vector(index + 24))
    index += 32
  }
  while index + 8 <= count {
    sum0.addProduct(a.vector(index), b.vector(index))
    index += 8
  }
  var sum = sumOfLanes((sum0 + sum1) + (sum2 + sum3))
  while index < count {
    sum += a[index] * b[index]
    index += 1
  }
  return sum
}

/// y[i] += scale · x[i].
@inline(__always)
func addScaled(_ y: Floats, _ x: ConstantFloats, scale: Float, count: Int) {
  var index = 0
  while index + 8 <= count {
    y.store(y.vector(index).addingProduct(Vector(repeating: scale), x.vector(index)), index)
    index += 8
  }
  while index < count {
    y[index] = y[index].addingProduct(scale, x[index])
    index += 1
  }
}

/// y[i] += x[i].
func addInPlace(_ y: Floats, _ x: ConstantFloats, count: Int) {
  for index in 0..<count { y[index] += x[index] }
}

/// Largest of `count` ≥ 1 floats.
func maximum(_ x: ConstantFloats, count: Int) -> Float {
  var best = x[0]
  var index = 0
  if count >= 8 {
    var bests = x.vector(0)
    index = 8
    while index + 8 <= count {
      let next = x.vector(index)
      bests.replace(with: next, where: next .> bests)
      index += 8
    }
    for lane in 0..<8 where bests[lane] > best { best = bests[lane] }
  }
  while index < count {
    if x[index] > best { best = x[index] }
    index += 1
  }
  return best
}

/// eˣ in each lane, within 2 units in the last place; 0 below −87.3, e⁸⁸ above 88.
///
/// x = k ln 2 + r with |r| ≤ ½ ln 2, a polynomial of degree 6 for eʳ, k into the exponent bits.
@inline(__always)
func exponential(_ value: Vector) -> Vector {
  var x = value
  x.replace(with: 88, where: x .> 88)
  let isTiny = x .< -87.3
  x.replace(with: -87.3, where: isTiny)
  let magic = Vector(repeating: 12_582_912)
  let shifted = magic.addingProduct(x, Vector(repeating: 1.442_695_04))
  let k = shifted - magic
  var r = x.addingProduct(k, Vector(repeating: -0.693_359_375))
  r.addProduct(k, Vector(repeating: 2.121_944_4e-4))
  var polynomial = Vector(repeating: 1.987_569_15e-4)
  polynomial = Vector(repeating: 1.398_199_95e-3).addingProduct(polynomial, r)
  polynomial = Vector(repeating: 8.333_451_9e-3).addingProduct(polynomial, r)
  polynomial = Vector(repeating: 4.166_579_6e-2).addingProduct(polynomial, r)
  polynomial = Vector(repeating: 1.666_666_55e-1).addingProduct(polynomial, r)
  polynomial = Vector(repeating: 5.000_000_1e-1).addingProduct(polynomial, r)
  polynomial = (r + 1).addingProduct(polynomial, r * r)
  let bits = unsafeBitCast(shifted, to: SIMD8<Int32>.self) &<< 23
  let scale = unsafeBitCast(bits &+ 0x3F80_0000, to: Vector.self)
  var result = polynomial * scale
  result.replace(with: 0, where: isTiny)
  return result
}

/// eˣ of one number, bit for bit what a lane of the vector form gives.
@inline(__always)
func exponential(_ x: Float) -> Float { exponential(Vector(repeating: x))[0] }

/// x ← e^(x − shift); returns the sum, eight lanes in order, then their tree, then the tail.
func exponentialsInPlace(_ x: Floats, shift: Float, count: Int) -> Float {
  var sums = Vector.zero
  var index = 0
  while index + vectorWidth <= count {
    let value = exponential(x.vector(index) - shift)
    x.store(value, index)
    sums += value
    index += vectorWidth
  }
  if index == count { return sumOfLanes(sums) }
  // One vector for the tail: attention has one for most of its rows.
  var last = Vector.zero
  for lane in 0..<count - index { last[lane] = x[index + lane] }
  let values = exponential(last - shift)
  var tail: Float = 0
  for lane in 0..<count - index {
    x[index + lane] = values[lane]
    tail += values[lane]
  }
  return sumOfLanes(sums) + tail
}
