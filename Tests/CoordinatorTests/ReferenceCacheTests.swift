import Foundation
import JSONText
import Testing
import Worker

@testable import Checkpoint
@testable import Coordinator

@Suite struct ReferenceCacheTests {
  private static let identity: JSON = [
    "files": [["model.safetensors", "ab"]], "arithmetic": ["a"],
  ]

  private func row(
    _ index: Int, _ prompt: [Int32], _ first: [Int32], _ second: [Int32], _ route: Route = .offline
  ) -> PairRow {
    PairRow(
      index: index, route: route, prompt: prompt, first: first, second: second,
      label: .given(firstIsBetter: 1))
  }

  /// Pair n of any number of different ones.
  private func row(_ number: Int, index: Int = 0) -> PairRow {
    row(index, [1, Int32(number)], [2, 3], [4])
  }

  /// Its sums, no two alike.
  private func sums(_ number: Int, index: Int = 0) -> PairReference {
    PairReference(index: index, first: -0.1 * Double(number + 1), second: -1 / Double(number + 3))
  }

  private func open(
    _ folder: DataFolder, _ identity: JSON = identity, areRowsIndependent: Bool = true
  ) throws -> ReferenceCache {
    try ReferenceCache(
      folder: folder.path + "/cache", identity: identity, areRowsIndependent: areRowsIndependent)
  }

  /// Looks for pairs and adds those that are missing.
  private func add(_ numbers: some Sequence<Int>, to cache: ReferenceCache) {
    for number in numbers {
      let missing = cache.find(in: [[row(number)]]).missing
      cache.add([sums(number)], keys: missing)
    }
  }

  /// Which of the first pairs are known, with the right bits.
  private func known(_ count: Int, in cache: ReferenceCache) -> [Int] {
    (0..<count).filter { number in
      guard let found = cache.find(in: [[row(number)]]).known.first else { return false }
      let expected = sums(number)
      #expect(found.first.bitPattern == expected.first.bitPattern)
      #expect(found.second.bitPattern == expected.second.bitPattern)
      return true
    }
  }

  private func file(_ folder: DataFolder) throws -> String {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/cache")
    let files = names.filter { $0 != ".lock" }
    #expect(files.count == 1, "\(files)")
    return folder.path + "/cache/" + (files.first ?? "")
  }

  // MARK: Keys

  @Test func everyTokenAndEveryBorderCounts() throws {
    let rows = [
      row(0, [1, 2], [3, 4], [5]), row(0, [1], [2, 3, 4], [5]), row(0, [1, 2], [3], [4, 5]),
      row(0, [1, 2], [3, 5], [4]), row(0, [1, 2], [5], [3, 4]), row(0, [1, 2], [3, 4], [-5]),
    ]
    let keys = rows.map { referenceKeys(of: [$0], areRowsIndependent: true)[0] }
    #expect(Set(keys).count == rows.count && !keys.contains(nil))
    // Alone, beside others, at another place of the step, with another route: the same pair.
    let moved = row(7, [1, 2], [3, 4], [5], .ddp)
    #expect(referenceKeys(of: [rows[1], moved], areRowsIndependent: true) == [keys[1], keys[0]])
  }

  @Test func generatedPairsHaveNoKey() {
    let pairs = [row(0, [1], [2], [3]), row(1, [1], [2], [3], .dpp), row(2, [4], [5], [6], .dpr)]
    let keys = referenceKeys(of: pairs, areRowsIndependent: true)
    #expect(keys[0] != nil && keys[1] == nil && keys[2] == nil)
    #expect(referenceKeys(of: pairs, areRowsIndependent: false) == [nil, nil, nil])
  }

  @Test func whereRowsDependOnEachOtherTheBatchCounts() {
    func keys(_ batch: [PairRow]) -> [ContentHash?] {
      referenceKeys(of: batch, areRowsIndependent: false)
    }
    let (a, b, c) = (row(0, [1], [2], [3]), row(1, [4], [5], [6]), row(2, [7], [8], [9]))
    let all = [keys([a]), keys([a, b]), keys([b, a]), keys([a, c]), keys([a, a])].flatMap { $0 }
    #expect(Set(all).count == all.count && !all.contains(nil))
    #expect(keys([a, b]) == keys([a, b]))
  }

  // MARK: Entries

  @Test func whatIsPublishedComesBack() throws {
    try withDataFolder { folder in
      let cache = try open(folder)
      add(0..<5, to: cache)
      // Nothing is published yet.
      #expect(try open(folder).count == 0)
      try cache.publish()
      let again = try open(folder)
      #expect(again.count == 5 && again.damage == nil)
      #expect(known(7, in: again) == Array(0..<5))
      #expect(again.foundCount == 5 && again.addedCount == 0 && cache.addedCount == 5)
      #expect(try open(folder, ["files": [["model.safetensors", "ac"]]]).count == 0)
    }
  }

  @Test func manyRecordsComeBackInOrder() throws {
    try withDataFolder { folder in
      let cache = try open(folder)
      add(0..<10_000, to: cache)
      try cache.publish()
      #expect(known(10_001, in: try open(folder)) == Array(0..<10_000))
      let bytes = try Data(contentsOf: URL(fileURLWithPath: file(folder)))
      // The same entries, found in another order, are the same bytes.
      try FileManager.default.removeItem(atPath: file(folder))
      let other = try open(folder)
      add((0..<10_000).reversed(), to: other)
      try other.publish()
      #expect(try Data(contentsOf: URL(fileURLWithPath: file(folder))) == bytes)
    }
  }

  @Test func whatIsNotFiniteIsNotKept() throws {
    try withDataFolder { folder in
      let cache = try open(folder)
      let missing = cache.find(in: [[row(1)]]).missing
      for value in [Double.nan, -.infinity] {
        cache.add([PairReference(index: 0, first: value, second: -1)], keys: missing)
        cache.add([PairReference(index: 0, first: -1, second: value)], keys: missing)
      }
      #expect(cache.count == 0)
    }
  }

  @Test func aDependentBatchIsThereAsAWholeOrNotAtAll() throws {
    try withDataFolder { folder in
      let cache = try open(folder, areRowsIndependent: false)
      let batch = [row(0, index: 0), row(1, index: 1)]
      let missing = cache.find(in: [batch]).missing
      #expect(missing.count == 2)
      cache.add([sums(0, index: 0)], keys: missing)
      let half = cache.find(in: [batch])
      #expect(half.known.isEmpty && Array(half.missing.keys) == [1])
      cache.add([sums(1, index: 1)], keys: half.missing)
      #expect(cache.find(in: [batch]).known.map(\.index) == [0, 1])
    }
  }

  // MARK: Damage

  @Test func aDamagedFileGivesNoWrongNumberAndIsMended() throws {
    try withDataFolder { folder in
      let cache = try open(folder)
      add(0..<3, to: cache)
      try cache.publish()
      let path = try file(folder)
      let whole = try Data(contentsOf: URL(fileURLWithPath: path))
      func check(_ bytes: Data, _ what: String) throws {
        try bytes.write(to: URL(fileURLWithPath: path))
        let damaged = try open(folder)
        #expect(damaged.damage != nil, "\(what)")
        #expect(known(4, in: damaged) == [] && damaged.count == 0, "\(what)")
      }
      for count in 0..<whole.count { try check(whole[..<count], "\(count) bytes") }
      for index in whole.indices {
        var changed = whole
        changed[index] ^= 0x10
        try check(changed, "byte \(index)")
      }
      let mending = try open(folder)
      add(0..<4, to: mending)
      try mending.publish()
      let mended = try open(folder)
      #expect(mended.damage == nil && known(5, in: mended) == Array(0..<4))
    }
  }

  @Test func wholeRecordsOfADamagedFileServe() throws {
    try withDataFolder { folder in
      let cache = try open(folder)
      add(0..<10_000, to: cache)
      try cache.publish()
      let path = try file(folder)
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      bytes[5000 * 32] ^= 1
      try bytes.write(to: URL(fileURLWithPath: path))
      let damaged = try open(folder)
      #expect(damaged.damage?.contains("record 78 is damaged") == true)
      #expect(damaged.count == 10_000 - 64)
      #expect(known(10_000, in: damaged).count == 10_000 - 64)
    }
  }

  @Test func aFileUnderAnotherReferencesNameIsNotRead() throws {
    try withDataFolder { folder in
      let cache = try open(folder)
      add(0..<3, to: cache)
      try cache.publish()
      let path = try file(folder)
      let other = ReferenceCacheFile(folder: folder.path + "/cache", identity: ["arithmetic": []])
      try FileManager.default.moveItem(atPath: path, toPath: other.path)
      let renamed = try open(folder, other.identity)
      #expect(renamed.count == 0 && renamed.damage?.contains("another reference") == true)
    }
  }

  @Test func aFolderThatCannotBeMadeIsRefused() throws {
    try withDataFolder { folder in
      try folder.write("cache", "a file")
      #expect {
        try open(folder)
      } throws: { error in
        "\(error)".hasPrefix("reference_cache: ") && "\(error)".contains("/cache")
      }
    }
  }

  @Test func aFolderInThePlaceOfTheFileIsRefused() throws {
    try withDataFolder { folder in
      let cache = try open(folder)
      add(0..<1, to: cache)
      try cache.publish()
      let path = try file(folder)
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      #expect {
        try open(folder)
      } throws: { error in
        "\(error)".contains(path) && "\(error)".contains("remove it")
      }
    }
  }

  // MARK: Several at once

  @Test func whatOthersPublishStays() throws {
    try withDataFolder { folder in
      let caches = [try open(folder), try open(folder)]
      add(0..<3, to: caches[0])
      add(2..<5, to: caches[1])
      for cache in caches { try cache.publish() }
      #expect(known(6, in: try open(folder)) == Array(0..<5))
      // What others found serves from then on.
      #expect(known(6, in: caches[1]) == Array(0..<5))
    }
  }

  @Test func manyWritersLoseNothing() throws {
    try withDataFolder { folder in
      DispatchQueue.concurrentPerform(iterations: 8) { writer in
        do {
          let cache = try open(folder)
          for round in 0..<5 {
            let number = 5 * writer + round
            add([number], to: cache)
            try cache.publish()
            #expect(known(40, in: cache).contains(number))
          }
        } catch { Issue.record(error) }
      }
      let all = try open(folder)
      #expect(all.damage == nil && known(41, in: all) == Array(0..<40))
      _ = try file(folder)
    }
  }

  @Test func aLockIsWaitedForAndGoesWithItsHolder() throws {
    try withDataFolder { folder in
      let first = try #require(FolderLock(folder.path))
      let second = try #require(FolderLock(folder.path))
      defer { second.close() }
      #expect(first.acquire(longestWait: 0))
      #expect(!second.acquire(longestWait: 0.03))
      first.close()
      #expect(second.acquire(longestWait: 0))
    }
  }
}
