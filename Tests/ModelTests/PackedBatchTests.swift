import Model
import Testing

@Suite struct PackedBatchTests {
  @Test func layoutOfTwoFamilies() {
    let batch = PackedBatch([
      PromptFamily(prompt: [1, 2, 3], completions: [[4, 5, 6], [7, 8]]),
      PromptFamily(prompt: [9], completions: [[10]]),
    ])
    // 1 2 3 | 4 5 (6 is a target only) | 7 (8) | 9 (10)
    #expect(batch.usedRowCount == 7)
    #expect(Array(batch.tokens[..<7]) == [1, 2, 3, 4, 5, 7, 9])
    #expect(Array(batch.positions[..<7]) == [0, 1, 2, 3, 4, 3, 0])
    #expect(batch.rowCount == 32)
    #expect(batch.tokens[7...].allSatisfy { $0 == 0 } && batch.positions.count == 32)
    #expect(batch.predictionRows == [2, 3, 4, 2, 5, 6])
    #expect(batch.targets == [4, 5, 6, 7, 8, 10])
    #expect(batch.sequences == [0..<3, 3..<5, 5..<6])
    #expect(batch.lastPromptRows == [2, 6])
    let rows: [[Range<Int>]] = batch.families.map { $0.segments.map(\.rows) }
    let prefixes: [[Range<Int>]] = batch.families.map { $0.segments.map(\.prefix) }
    #expect(rows == [[0..<5, 5..<6], [6..<7]])
    #expect(prefixes == [[0..<0, 0..<3], [0..<0]])
  }

  @Test func completionsOfOneOrNoToken() {
    let batch = PackedBatch([
      PromptFamily(prompt: [1, 2], completions: [[3], [4], [], [5, 6]]),
      PromptFamily(prompt: [7, 8], completions: []),
    ])
    #expect(Array(batch.tokens[..<batch.usedRowCount]) == [1, 2, 5, 7, 8])
    #expect(batch.predictionRows == [1, 1, 1, 2])
    #expect(batch.targets == [3, 4, 5, 6])
    #expect(batch.sequences == [0..<1, 1..<2, 2..<2, 2..<4])
    let rows: [[Range<Int>]] = batch.families.map { $0.segments.map(\.rows) }
    #expect(rows == [[0..<2, 2..<3], [3..<5]])
    #expect(batch.lastPromptRows == [1, 4])
  }

  @Test(arguments: [1, 31, 32, 33, 64]) func rowsAreAMultipleOf32(count: Int) {
    let batch = PackedBatch([
      PromptFamily(prompt: [Int32](repeating: 5, count: count), completions: [])
    ])
    #expect(batch.usedRowCount == count)
    #expect(batch.rowCount == (count + 31) / 32 * 32)
    #expect(PackedBatch([]).rowCount == 0)
  }
}
