import Checkpoint
import Comm
import Worker

extension TrainingRun {
  /// Sets log π_ref of rows that are not dropped; collective.
  ///
  /// The rows of a batch go through the reference together, batch b on rank b mod R. What the cache knows
  /// does not: rank 0 looks it up for all.
  /// - Parameters:
  ///   - rows: all rows, the same on every rank, each at its index.
  ///   - batches: indices of rows.
  ///   - isCached: whether a batch's rows may come from the cache.
  ///   - communicator: all ranks.
  ///   - sums: the reference's sums of some rows of a batch of this rank, the two responses first.
  /// - Throws: an error of MPI.
  func setReferences(
    of rows: inout [PairRow], batches: [[Int]], isCached: (_ batch: Int) -> Bool = { _ in true },
    communicator: borrowing Communicator,
    sums: (_ batch: Int, _ rows: [PairRow]) -> [[Double]]
  ) throws {
    let kept = batches.map { batch in batch.map { rows[$0] }.filter { !$0.isDropped } }
    let found = stopwatch.measure(.reference) {
      referenceCache?.find(in: kept.indices.filter(isCached).map { kept[$0] })
    }
    var known: [PairReference] = []
    if configuration.referenceCache != .off {
      known = try stopwatch.measure(.wait) {
        Array(try communicator.allGather(found?.known ?? []).joined())
      }
    }
    let isKnown = Set(known.map(\.index))
    var own: [PairReference] = []
    stopwatch.measure(.reference) {
      for batch in stride(from: rank, to: kept.count, by: rankCount) {
        let missing = kept[batch].filter { !isKnown.contains($0.index) }
        if missing.isEmpty { continue }
        own += zip(missing, sums(batch, missing)).map {
          PairReference(index: $0.index, first: $1[0], second: $1[1])
        }
      }
    }
    let computed = try stopwatch.measure(.wait) {
      Array(try communicator.allGather(own).joined())
    }
    if let found { referenceCache?.add(computed, keys: found.missing) }
    for reference in known + computed {
      rows[reference.index].referenceFirst = reference.first
      rows[reference.index].referenceSecond = reference.second
    }
  }

  /// Adds what is new to the reference cache's folder; a failure is a warning, as the run can do
  /// without.
  func publishReferences(progress: ProgressLine, isEnd: Bool) throws {
    guard let cache = referenceCache else { return }
    do throws(CheckpointError) {
      try cache.publish()
    } catch {
      try note(
        "warning: the reference cache was not written, what is new stays with this run for now: "
          + error.description, progress)
    }
    guard isEnd else { return }
    try note(
      "reference cache \(cache.folder): \(cache.foundCount) rows taken from it, "
        + "\(cache.addedCount) added", progress)
  }

  /// Says at the start what the cache knows.
  func introduceReferenceCache(progress: ProgressLine) throws {
    guard let cache = referenceCache else { return }
    if let damage = cache.damage {
      try note("warning: the reference cache is damaged and mended: \(damage)", progress)
    }
    try note("reference cache \(cache.folder): \(cache.count) rows known", progress)
  }

  private func note(_ line: String, _ progress: ProgressLine) throws {
    progress.note(line)
    try folder.log(line)
  }
}
