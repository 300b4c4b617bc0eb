/// What is the newest whole checkpoint of a run.
public struct NewestCheckpoint: Sendable {
  /// A checkpoint folder and the step it is of.
  public struct Found: Sendable {
    /// The step number in the folder's name.
    public let step: Int
    /// The folder.
    public let path: String
  }

  /// The newest whole one, nil if there is none.
  public let found: Found?
  /// Newer ones that are broken, newest first, each with the reason.
  public let skipped: [(path: String, reason: String)]
}

/// Looks for the newest whole `step-00000050` in a folder, by number; reads every byte of it.
///
/// A folder that does not exist holds none.
public func newestCheckpoint(in folder: String) throws(CheckpointError) -> NewestCheckpoint {
  guard try fileKind(folder) != nil else { return NewestCheckpoint(found: nil, skipped: []) }
  var candidates: [(step: Int, name: String)] = []
  for name in try entryNames(of: folder) {
    let digits = name.utf8.dropFirst("step-".utf8.count)
    guard name.utf8.starts(with: "step-".utf8), !digits.isEmpty,
      digits.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
      let step = Int(Substring(digits))
    else { continue }
    candidates.append((step, name))
  }
  candidates.sort { $0.step != $1.step ? $0.step > $1.step : precedes($1.name, $0.name) }
  var skipped: [(path: String, reason: String)] = []
  for candidate in candidates {
    let path = "\(folder)/\(candidate.name)"
    do throws(CheckpointError) {
      try verifyFolder(path)
      return NewestCheckpoint(
        found: NewestCheckpoint.Found(step: candidate.step, path: path), skipped: skipped)
    } catch {
      skipped.append((path, error.description))
    }
  }
  return NewestCheckpoint(found: nil, skipped: skipped)
}
