import Testing

@testable import Coordinator

@Suite struct WorkGroupsTests {
  @Test func balancedAndAscending() {
    #expect(WorkGroups.groups(lengths: [5, 4, 3, 3, 3], count: 2) == [[0, 3], [1, 2, 4]])
    #expect(WorkGroups.groups(lengths: [1, 1, 1, 1], count: 2) == [[0, 2], [1, 3]])
    #expect(WorkGroups.groups(lengths: [9], count: 1) == [[0]])
    #expect(WorkGroups.groups(lengths: [0, 0, 0], count: 3) == [[0], [1], [2]])
    #expect(WorkGroups.groups(lengths: [0, 7, 0, 0], count: 2) == [[1], [0, 2, 3]])
  }

  @Test(arguments: 1...12)
  func aPartition(rowCount: Int) {
    let lengths = (0..<rowCount).map { ($0 * 7919) % 13 }
    for count in 1...rowCount {
      let groups = WorkGroups.groups(lengths: lengths, count: count)
      #expect(groups.count == count && groups.allSatisfy { !$0.isEmpty })
      #expect(groups.allSatisfy { $0 == $0.sorted() })
      #expect(groups.flatMap { $0 }.sorted() == Array(0..<rowCount))
      // No group can be lightened by its shortest row and still be the heaviest.
      let loads = groups.map { $0.reduce(0) { $0 + max(1, lengths[$1]) } }
      let spread = (loads.max() ?? 0) - (loads.min() ?? 0)
      #expect(spread <= max(1, lengths.max() ?? 0))
    }
  }
}
