import Model

extension MemoryPlan {
  /// Another setting of a run and what it then needs.
  struct Alternative {
    var change: String
    var nodeBytes: Double
  }

  /// Settings by which a run needs less memory, the smallest change first.
  ///
  /// - Parameters:
  ///   - configuration: the run file.
  ///   - models: their sizes.
  ///   - lengths: tokens of its rows.
  ///   - rankCount: all ranks.
  ///   - ranksOnNode: those of the node that has most.
  ///   - nodeMemory: bytes of a node's memory.
  /// - Returns: changes that save at least a thirtieth.
  static func alternatives(
    _ configuration: RunConfiguration, models: PlannedModels, lengths: RowLengths, rankCount: Int,
    ranksOnNode: Int, nodeMemory: Double
  ) -> [Alternative] {
    func bytes(
      _ changed: RunConfiguration, _ models: PlannedModels, _ lengths: RowLengths, ranks: Int,
      ofAll: Int
    ) -> Double {
      let step = PlannedStep(changed, lengths: lengths, rankCount: ofAll, ranksOnNode: ranks)
      return MemoryPlan(changed, models: models, step: step, nodeMemory: nodeMemory).nodeBytes
    }
    func bytes(_ changed: RunConfiguration, _ changedModels: PlannedModels? = nil) -> Double {
      bytes(changed, changedModels ?? models, lengths, ranks: ranksOnNode, ofAll: rankCount)
    }
    var found: [Alternative] = []
    let pairs = configuration.batch.pairs
    if configuration.batch.groups < pairs {
      var changed = configuration
      changed.batch.groups = pairs
      found.append(.init(change: "batch.groups: \(pairs)", nodeBytes: bytes(changed)))
    }
    let shorter = configuration.data.maxLength / 2
    if Double(shorter) < lengths.longest, shorter >= 2 {
      var cut = lengths
      let share = Double(shorter) / lengths.longest
      (cut.prompt, cut.response, cut.longest) = (
        share * lengths.prompt, share * lengths.response, Double(shorter)
      )
      var changed = configuration
      changed.generation.maxNewTokens = max(1, Int(share * Double(changed.generation.maxNewTokens)))
      found.append(
        .init(
          change: "data.max_length: \(shorter)",
          nodeBytes: bytes(changed, models, cut, ranks: ranksOnNode, ofAll: rankCount)))
    }
    if ranksOnNode > 1 {
      let nodes = max(1, (rankCount + ranksOnNode - 1) / ranksOnNode)
      found.append(
        .init(
          change: "one rank a node",
          nodeBytes: bytes(configuration, models, lengths, ranks: 1, ofAll: nodes)))
    }
    if configuration.precision == .f32 {
      var changed = configuration
      changed.precision = .bf16
      found.append(.init(change: "precision: bf16", nodeBytes: bytes(changed)))
    }
    if let adapted = models.adapted, configuration.method != .reward {
      found.append(
        .init(change: "adapter: {rank: 64}", nodeBytes: bytes(configuration, adapted)))
      if configuration.precision == .f32 {
        var changed = configuration
        changed.precision = .bf16
        found.append(
          .init(
            change: "adapter: {rank: 64} with precision: bf16",
            nodeBytes: bytes(changed, adapted)))
      }
    }
    let now = bytes(configuration)
    return found.filter { $0.nodeBytes < now * 29 / 30 }
  }
}

extension PlannedModels {
  /// The same models with an adapter of rank 64 on all linear layers; nil if there is one already.
  var adapted: PlannedModels? {
    guard adapterFloats == nil else { return nil }
    let decoder = policy.configuration
    let adapter = AdapterConfiguration(
      rank: 64, alpha: 16, isRankStabilized: false, dropout: 0,
      targets: AdapterTable.targets(of: decoder))
    guard let table = try? AdapterTable(adapter, of: decoder, source: "") else { return nil }
    var result = self
    result.adapterFloats = table.floatCount
    // A reference of its own keeps its weights.
    result.referenceIsShared = reference != nil && !referenceIsOwn
    return result
  }
}

/// What to change, in words: those changes that suffice, else all.
func remedies(_ alternatives: [MemoryPlan.Alternative], memoryBytes: Double) -> String {
  let enough = alternatives.filter { $0.nodeBytes <= memoryBytes }
  let named = (enough.isEmpty ? alternatives : enough).map {
    "\($0.change) (\(gigabytes($0.nodeBytes)))"
  }
  guard !named.isEmpty else { return "use a smaller model or a larger machine" }
  return enough.isEmpty
    ? "none of these alone is enough: \(named.joined(separator: ", ")); combine them, use a smaller "
      + "model or a larger machine"
    : "change one of: \(named.joined(separator: ", "))"
}
