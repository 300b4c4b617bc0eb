import Checkpoint
import Foundation
import Glibc
import JSONText
import Worker

/// Log-probabilities of the data's pairs under the reference, in a folder that runs share.
///
/// Only rank 0 has one. The entries are in memory; what is new is published with the checkpoints, so a
/// run that is killed loses what it found since the last one. Runs may publish at the same time: each,
/// under the folder's lock, adds to what is there, and puts its file in place in one step.
final class ReferenceCache {
  /// The folder.
  let folder: String
  private let file: ReferenceCacheFile
  private let areRowsIndependent: Bool
  private var entries: [ContentHash: ReferenceSums]
  private var hasNews = false

  /// Pairs that were asked for and there, and pairs that were computed and added.
  private(set) var foundCount = 0
  private(set) var addedCount = 0
  /// Pairs that are known now.
  var count: Int { entries.count }
  /// What was wrong with the file when the cache was opened.
  let damage: String?

  /// Seconds to wait for others that publish.
  private static let longestWait = 30.0

  /// Opens a folder, which is made where it does not exist.
  ///
  /// - Parameters:
  ///   - folder: the folder.
  ///   - identity: what the log-probabilities depend on beside the pairs.
  ///   - areRowsIndependent: whether the kernels' rows don't depend on each other.
  /// - Throws: `ConfigurationError` if the folder cannot be used.
  init(folder: String, identity: JSON, areRowsIndependent: Bool) throws(ConfigurationError) {
    self.folder = folder
    self.areRowsIndependent = areRowsIndependent
    file = ReferenceCacheFile(folder: folder, identity: identity)
    do throws(CheckpointError) { try makeFolder(folder) } catch {
      throw ConfigurationError(
        "reference_cache: \(error); give another folder, or reference_cache: off")
    }
    var isFolder: ObjCBool = false
    guard
      !FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder)
        || !isFolder.boolValue
    else {
      throw ConfigurationError(
        "reference_cache: \(file.path) is a folder where the cache's file belongs; remove it, or "
          + "give another folder")
    }
    guard access(folder, R_OK | W_OK | X_OK) == 0,
      access(file.path, R_OK) == 0 || errno == ENOENT, let lock = FolderLock(folder)
    else {
      throw ConfigurationError(
        "reference_cache: \(folder) cannot be written (\(String(cString: strerror(errno)))); give "
          + "another folder, or reference_cache: off")
    }
    lock.close()
    let read = file.read()
    entries = read.entries
    damage = read.damage?.description
  }

  /// Looks for the pairs of batches.
  ///
  /// - Parameter batches: pairs that go through the reference together.
  /// - Returns: what is known, and the keys of the pairs that are not and will be kept, by their index.
  func find(in batches: [[PairRow]]) -> (known: [PairReference], missing: [Int: ContentHash]) {
    var known: [PairReference] = []
    var missing: [Int: ContentHash] = [:]
    for batch in batches {
      let keys = referenceKeys(of: batch, areRowsIndependent: areRowsIndependent)
      let found = zip(batch, keys).compactMap { row, key in
        key.flatMap { entries[$0] }.map {
          PairReference(index: row.index, first: $0.first, second: $0.second)
        }
      }
      // Where pairs depend on each other, a batch is computed as a whole.
      if areRowsIndependent || found.count == batch.count { known += found }
      let isThere = Set(found.map(\.index))
      for (row, key) in zip(batch, keys) where !isThere.contains(row.index) {
        missing[row.index] = key
      }
    }
    foundCount += known.count
    return (known, missing)
  }

  /// Adds what was computed.
  ///
  /// - Parameters:
  ///   - computed: of any pairs.
  ///   - keys: of those that are kept, by their index.
  func add(_ computed: [PairReference], keys: [Int: ContentHash]) {
    for reference in computed where reference.first.isFinite && reference.second.isFinite {
      guard let key = keys[reference.index] else { continue }
      entries[key] = ReferenceSums(first: reference.first, second: reference.second)
      addedCount += 1
      hasNews = true
    }
  }

  /// Adds what is new to the folder's file.
  ///
  /// - Throws: `CheckpointError` if it cannot be written; the next call tries again.
  func publish() throws(CheckpointError) {
    guard hasNews else { return }
    guard let lock = FolderLock(folder) else {
      throw CheckpointError("\(folder) cannot be locked: \(String(cString: strerror(errno)))")
    }
    defer { lock.close() }
    guard lock.acquire(longestWait: Self.longestWait) else {
      throw CheckpointError(
        "\(folder) was locked by another run for \(Int(Self.longestWait)) seconds")
    }
    // What others have published since; a damaged file is replaced.
    entries.merge(file.read().entries) { own, _ in own }
    try file.write(entries)
    hasNews = false
  }
}

/// The lock of a folder, which ends with the process that holds it.
struct FolderLock {
  private let descriptor: Int32

  /// Opens the lock's file without taking it; nil, with `errno`, if that cannot be.
  init?(_ folder: String) {
    descriptor = open("\(folder)/.lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o666)
    if descriptor < 0 { return nil }
  }

  /// Takes the lock.
  ///
  /// - Parameter longestWait: seconds to wait for others.
  /// - Returns: whether others cannot write; also true where the file system has no locks, as then
  ///   runs that publish at the same moment lose the news of one, and no file is damaged.
  func acquire(longestWait: Double) -> Bool {
    let start = Stopwatch.now
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else { return true }
      guard Stopwatch.now - start < longestWait else { return false }
      usleep(10_000)
    }
    return true
  }

  /// Gives the lock back.
  func close() { _ = Glibc.close(descriptor) }
}
