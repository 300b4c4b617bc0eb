/// Tokenised rows of a run's files, read from disk one by one, and the texts that oracles and samples
/// show.
struct TrainingData {
  private let files: [TokenFile]
  private let weights: [Double]
  /// Where each file's rows begin, counted through all files.
  private let starts: [Int]
  /// The rows that are taken, ascending and counted through all files; nil is all.
  private var selected: [Int]?
  /// Whether rows keep their responses.
  private var hasResponses = true

  /// What became of the files' rows.
  let counts: RowCounts

  /// The rows of files.
  ///
  /// - Parameter files: the token files with their weights.
  init(_ files: [(file: TokenFile, weight: Double)]) {
    self.files = files.map(\.file)
    weights = files.map(\.weight)
    var starts: [Int] = []
    var counts = RowCounts()
    for (file, _) in files {
      starts.append(counts.usable)
      counts.add(file.counts)
    }
    self.starts = starts
    self.counts = counts
  }

  /// Number of rows.
  var count: Int { selected?.count ?? counts.usable }

  /// The rows of an epoch.
  var mixture: EpochMixture {
    guard let selected else {
      return EpochMixture(zip(files, weights).map { (rows: $0.count, weight: $1) })
    }
    var next = 0
    return EpochMixture(
      zip(files.indices, weights).map { index, weight in
        let first = next
        let end = starts[index] + files[index].count
        while next < selected.count, selected[next] < end { next += 1 }
        return (rows: next - first, weight: weight)
      })
  }

  /// The rows at ascending indices.
  func selecting(_ indices: [Int]) -> TrainingData {
    var result = self
    result.selected = selected.map { rows in indices.map { rows[$0] } } ?? indices
    return result
  }

  /// The same prompts without responses.
  var withoutResponses: TrainingData {
    var result = self
    result.hasResponses = false
    return result
  }

  /// A row.
  ///
  /// - Parameter row: its index, below `count`.
  /// - Returns: its tokens and texts.
  /// - Throws: `DataError` if the token cache is damaged.
  func record(_ row: Int) throws(DataError) -> TokenRecord {
    let row = selected?[row] ?? row
    let index = (starts.firstIndex { $0 > row } ?? starts.count) - 1
    var record = try files[index].record(row - starts[index])
    if !hasResponses {
      (record.chosen, record.rejected, record.chosenText) = ([], [], "")
    }
    return record
  }

  /// A row's pair; its responses are empty where there are none.
  func pair(_ row: Int) throws(DataError) -> TokenPair { try record(row).pair }

  /// The first rows that have responses, in their order.
  func firstWithResponses(_ limit: Int) throws(DataError) -> [Int] {
    guard hasResponses, counts.withResponses > 0 else { return [] }
    // Files of pairs have them in every row.
    if counts.withResponses == counts.usable { return Array(0..<min(limit, count)) }
    var found: [Int] = []
    for row in 0..<count where found.count < min(limit, counts.withResponses) {
      if try !record(row).chosen.isEmpty { found.append(row) }
    }
    return found
  }
}
