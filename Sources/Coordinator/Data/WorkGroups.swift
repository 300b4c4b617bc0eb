/// How a step's rows are cut into work groups.
public enum WorkGroups {
  /// Cuts rows into exactly `count` groups of about equal length.
  ///
  /// A pure function of the lengths: the longest row first, each into the lightest group so far,
  /// ties by index. So results do not depend on who works on which group.
  ///
  /// - Parameters:
  ///   - lengths: the cost of each row, such as its tokens; less than 1 counts as 1.
  ///   - count: the number of groups, at least 1 and at most the number of rows.
  /// - Returns: the rows' indices by group, ascending in each; no group is empty.
  public static func groups(lengths: [Int], count: Int) -> [[Int]] {
    precondition(count > 0 && count <= lengths.count, "every work group needs a row")
    let order = lengths.indices.sorted { first, second in
      lengths[first] != lengths[second] ? lengths[first] > lengths[second] : first < second
    }
    var groups = Array(repeating: [Int](), count: count)
    var loads = Array(repeating: 0, count: count)
    for row in order {
      var lightest = 0
      for group in 1..<max(1, count) where loads[group] < loads[lightest] { lightest = group }
      groups[lightest].append(row)
      loads[lightest] += max(1, lengths[row])
    }
    return groups.map { $0.sorted() }
  }
}
