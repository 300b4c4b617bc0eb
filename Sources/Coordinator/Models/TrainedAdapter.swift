import Model

extension ModelFolder {
  /// The adapter that a run trains: the folder's own, or a new one.
  ///
  /// - Parameters:
  ///   - settings: of the run file; what is not written is the folder's, else the default.
  ///   - seed: of a new adapter's weights.
  /// - Returns: the adapter's settings, its table and what it begins as.
  /// - Throws: `ConfigurationError` if the settings differ from the folder's adapter; `ModelError` if a
  ///   target is not one of the model's.
  func trainedAdapter(
    _ settings: RunConfiguration.AdapterSettings, seed: UInt64
  ) throws -> AdapterRequest {
    let all = AdapterTable.targets(of: configuration)
    let asked: [String]? =
      switch settings.targets {
      case nil: nil
      case .all: all
      case .named(let names): names
      }
    guard let adapter else {
      let new = AdapterConfiguration(
        rank: settings.rank ?? 64, alpha: settings.alpha ?? 16,
        isRankStabilized: settings.rslora ?? false, dropout: settings.dropout ?? 0,
        targets: asked ?? all)
      return AdapterRequest(
        configuration: new, table: try AdapterTable(new, of: configuration, source: path),
        start: .drawn(seed: seed))
    }
    var kept = adapter.configuration
    func check<Value: Equatable>(_ key: String, _ asked: Value?, _ found: Value) throws {
      guard let asked, asked != found else { return }
      throw ConfigurationError(
        "adapter.\(key) is \(asked), but the adapter in \(path), which the run goes on from, has "
          + "\(found); leave it out")
    }
    try check("rank", settings.rank, kept.rank)
    try check("alpha", settings.alpha, kept.alpha)
    try check("rslora", settings.rslora, kept.isRankStabilized)
    try check("targets", asked?.sorted(), kept.targets.sorted())
    kept.dropout = settings.dropout ?? kept.dropout
    return AdapterRequest(configuration: kept, table: adapter.table, start: .folder(adapter))
  }
}
