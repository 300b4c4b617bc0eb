import Checkpoint
import Foundation

/// Whether a folder is a reference cache that a run has published to.
func isReferenceCache(_ path: String) -> Bool { !referenceCacheFiles(in: path).isEmpty }

/// Says what a reference cache holds: a line for each reference.
///
/// - Parameters:
///   - path: the folder.
///   - verifies: reads every byte.
/// - Returns: lines for a person.
/// - Throws: `CheckpointError` if a file is not whole.
func describeReferenceCache(_ path: String, verifies: Bool) throws -> String {
  let lines = try referenceCacheFiles(in: path).map { name in
    let file = try RecordFile(path: "\(path)/\(name)")
    guard let description = ReferenceCacheDescription(file) else {
      throw CheckpointError("\(file.path) does not say which reference it is of")
    }
    if verifies { try file.verify() }
    let identity = description.identity
    let files = (identity["files"]?.elements ?? []).map { file in
      (file.elements ?? []).compactMap(\.string).joined(separator: " ")
    }
    let arithmetic = (identity["arithmetic"]?.elements ?? []).compactMap(\.string)
    return """
      \(name): log-probabilities of \(description.count) pairs
        by \(arithmetic.joined(separator: ", and "))
        under \(files.joined(separator: ", "))
      """
  }
  return (["reference cache of \(lines.count) reference\(lines.count == 1 ? "" : "s")"] + lines)
    .joined(separator: "\n")
}

private func referenceCacheFiles(in path: String) -> [String] {
  let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
  return names.sorted().filter { $0.hasSuffix(ReferenceCacheFile.suffix) }
}
