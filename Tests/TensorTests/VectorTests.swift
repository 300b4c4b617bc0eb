import Glibc
import Testing

@testable import Tensor

@Suite struct VectorTests {
  /// Within two units in the last place from −87.3 to 88, lanes and single numbers alike.
  @Test func exponentialIsWithinTwoUnits() {
    var x: Float = -87.29
    var worst = 0.0
    var areLanesAlike = true
    while x < 88 {
      let found = exponential(Vector(repeating: x))
      let expected = exp(Double(x))
      worst = max(worst, abs(Double(found[0]) - expected) / Double(Float(expected).ulp))
      areLanesAlike = areLanesAlike && found[3].bitPattern == exponential(x).bitPattern
      x += 0.00917
    }
    #expect(worst <= 2)
    #expect(areLanesAlike)
  }

  @Test func exponentialAtItsEnds() {
    #expect(exponential(0) == 1)
    #expect(exponential(-0.0) == 1)
    #expect(exponential(-87.4) == 0)
    #expect(exponential(-Float.infinity) == 0)
    #expect(exponential(-Float.greatestFiniteMagnitude) == 0)
    #expect(exponential(88).isFinite)
    #expect(exponential(1000) == exponential(88))
    #expect(exponential(Float.infinity) == exponential(88))
    #expect(exponential(Float.nan).isNaN)
  }

  @Test func dotIsTheSumOfProducts() {
    for count in [0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 1024] {
      let (a, b) = (
        Table(rows: 1, columns: count, seed: 95), Table(rows: 1, columns: count, seed: 96)
      )
      let (left, right) = (Operand(a), Operand(b))
      let found = Double(dot(left.base, right.base, count: count))
      #expect(abs(found - inner(a, b)) <= 1e-6 * Double(max(1, count)).squareRoot() * 4)
    }
  }

  /// The largest number is found wherever it stands, in whole vectors and in the tail.
  @Test func maximumIsFoundInEveryPlace() {
    for count in [1, 2, 7, 8, 9, 15, 16, 17, 40, 65] {
      for place in 0..<count {
        var table = Table(rows: 1, columns: count, seed: 97)
        table[0, place] = 50
        let operand = Operand(table)
        #expect(maximum(operand.base, count: count) == 50, "\(place) of \(count)")
      }
      let negative = Operand(Table(rows: 1, columns: count).filled(-3))
      #expect(maximum(negative.base, count: count) == -3)
    }
  }

  @Test func addScaledAddsInEveryPlace() {
    for count in [1, 7, 8, 9, 24, 33] {
      let (y, x) = (
        Table(rows: 1, columns: count, seed: 98), Table(rows: 1, columns: count, seed: 99)
      )
      let (result, operand) = (Operand(y), Operand(x))
      addScaled(result.base, operand.base, scale: 0.5, count: count)
      expectClose(result, y.moved(0.5, along: x), tolerance: 2e-7)
    }
  }

  @Test func exponentialsAndTheirSum() {
    for count in [1, 7, 8, 9, 64, 65, 300] {
      let x = Table(rows: 1, columns: count, seed: 100)
      let operand = Operand(x)
      let sum = Double(exponentialsInPlace(operand.base, shift: 0.25, count: count))
      var expected = x
      for index in 0..<count { expected[0, index] = exp(x[0, index] - 0.25) }
      expectClose(operand, expected, tolerance: 3e-7)
      let expectedSum = expected.values.reduce(0, +)
      #expect(abs(sum - expectedSum) <= 2e-6 * expectedSum)
    }
  }
}

@Suite struct FloatBufferTests {
  @Test func isAlignedAndZero() {
    for count in [0, 1, 15, 16, 17, 100_000] {
      let buffer = FloatBuffer(count: count)
      #expect(UInt(bitPattern: buffer.base) % 64 == 0)
      #expect((0..<count).allSatisfy { buffer.base[$0] == 0 })
      for index in 0..<count { buffer.base[index] = 3 }
      buffer.zero()
      #expect((0..<count).allSatisfy { buffer.base[$0] == 0 })
    }
  }

  @Test func viewsLieWhereTheySay() {
    let buffer = FloatBuffer(count: 30)
    for index in 0..<30 { buffer.base[index] = Float(index) }
    let matrix = buffer.matrix(rows: 4, columns: 5, offset: 10)
    #expect(matrix.count == 20)
    #expect(matrix.row(2)[3] == 23)
    let part = matrix.rows(1..<3)
    #expect(part.rows == 2 && part.columns == 5 && part.base[0] == 15)
    part.zero()
    #expect(buffer.base[14] == 14 && buffer.base[15] == 0)
    #expect(buffer.base[24] == 0 && buffer.base[25] == 25)
    #expect(matrix.rows(4..<4).count == 0)
  }
}
