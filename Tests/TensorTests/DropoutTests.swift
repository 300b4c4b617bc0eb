import Tensor
import Testing

@Suite struct DropoutTests {
  private func keys(_ count: Int) -> [DropoutKey] {
    (0..<count).map { DropoutKey(row: UInt32($0 / 3), place: UInt32($0 % 3)) }
  }

  @Test(arguments: Setting.twoThreads) func keptNumbersAreScaled(_ setting: Setting) {
    let compute = setting.compute()
    let x = Table(rows: 90, columns: 101, seed: 40)
    let (input, output) = (Operand(x), Operand(rows: 90, columns: 101))
    let draws = DropoutDraws(probability: 0.25, seed: 7, step: 3)
    compute.dropout(input.operand, draws: draws, keys: keys(88), layer: 5, into: output.operand)
    let scale: Float = 1 / 0.75
    let floats = Array(zip(input.floats, output.floats))
    #expect(floats.allSatisfy { $1 == 0 || $1 == $0 * scale })
    // Rows without a key are padding.
    #expect(floats.suffix(2 * 101).allSatisfy { $1 == 0 })
    // 8888 draws: six standard deviations are 245.
    let dropped = floats.prefix(88 * 101).filter { $1 == 0 }.count
    #expect(abs(Double(dropped) - 0.25 * 8888) < 245, "\(dropped)")

    func mask(_ draws: DropoutDraws, _ keys: [DropoutKey], _ layer: UInt32) -> [Bool] {
      let result = Operand(rows: 90, columns: 101)
      compute.dropout(input.operand, draws: draws, keys: keys, layer: layer, into: result.operand)
      return result.floats.map { $0 == 0 }
    }
    let first = output.floats.map { $0 == 0 }
    #expect(mask(draws, keys(88), 5) == first)
    #expect(mask(draws, keys(88), 6) != first)
    #expect(mask(DropoutDraws(probability: 0.25, seed: 8, step: 3), keys(88), 5) != first)
    #expect(mask(DropoutDraws(probability: 0.25, seed: 7, step: 4), keys(88), 5) != first)
    // Rows take their draws along.
    let turned = mask(draws, keys(88).reversed(), 5)
    #expect(Array(turned[..<101]) == Array(first[(87 * 101)..<(88 * 101)]))
    // Neighbouring rows and channels have nothing to do with each other.
    let rows = (0..<87).reduce(0) { sum, row in
      sum + (0..<101).filter { first[row * 101 + $0] && first[(row + 1) * 101 + $0] }.count
    }
    #expect(abs(Double(rows) - 87 * 101 / 16) < 6 * (87 * 101 / 16 as Double).squareRoot())
  }

  @Test func columnsAreTakenAndAdded() {
    let compute = Compute(threadCount: 2)
    let wide = Table(rows: 5, columns: 13, seed: 41)
    let x = Table(rows: 5, columns: 4, seed: 42)
    let (wideOperand, xOperand) = (Operand(wide), Operand(x))
    let copy = Operand(rows: 5, columns: 4)
    compute.copyColumns(of: wideOperand.operand, first: 6, scale: 0.5, into: copy.operand)
    var expected = Table(rows: 5, columns: 4)
    for row in 0..<5 { for column in 0..<4 { expected[row, column] = wide[row, 6 + column] / 2 } }
    expectClose(copy, expected)
    compute.addColumns(xOperand.matrix, scale: 2, to: wideOperand.matrix, first: 9)
    var sum = wide
    for row in 0..<5 { for column in 0..<4 { sum[row, 9 + column] += 2 * x[row, column] } }
    expectClose(wideOperand, sum)
  }
}
