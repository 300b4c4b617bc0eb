import Checkpoint
import Foundation
import JSONText

/// A folder of token files, and of digests of data files that are known without reading them.
struct TokenCache {
  /// The folder; nil keeps nothing.
  let folder: String?

  /// The cache of a run: `token-cache` beside its output folder, unless the run file says otherwise.
  init(_ configuration: RunConfiguration) {
    switch configuration.data.cache {
    case .off: folder = nil
    case .folder(let path): folder = path
    case .auto:
      let parent = PathParts(configuration.output).folder
      folder = parent.isEmpty ? "token-cache" : parent + "/token-cache"
    }
  }

  /// The digest of a data file's bytes; the file is read only if its stamp has changed.
  func digest(of path: String) throws -> String {
    try checkDataFile(path)
    let absolute = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    let stamp = try FileStamp(path: path)
    let note = folder.map {
      "\($0)/\(name(of: path))-\(Checkpoint.digest(ofBytes: Array(absolute.utf8)).prefix(16)).source"
    }
    if let note, let bytes = FileManager.default.contents(atPath: note),
      let json = try? JSON(parsing: [UInt8](bytes)),
      let known = stamp.digest(in: json, path: absolute)
    {
      return known
    }
    let digest = try Checkpoint.digest(ofFile: path)
    if let folder, let note, stamp.isSettled, try FileStamp(path: path) == stamp {
      try makeCacheFolder(folder)
      // Another run may write the same note at the same time; without one the file is read again.
      try? writeFileAtomically(
        Array((stamp.json(path: absolute, digest: digest).text + "\n").utf8), path: note)
    }
    return digest
  }

  /// The token file of a data file; nil if nothing is kept.
  func path(of file: RunConfiguration.DataFile, key: String) -> String? {
    folder.map { "\($0)/\(name(of: file.path))-\(key).tokens" }
  }

  /// A data file's name as part of a file name.
  private func name(of path: String) -> String {
    let letters = PathParts(path).name.unicodeScalars.prefix(40).map { scalar in
      let isPlain = scalar.isASCII && (scalar.properties.isAlphabetic || "0"..."9" ~= scalar)
      return isPlain || scalar == "." || scalar == "_" ? Character(scalar) : "-"
    }
    return String(letters)
  }
}

/// Makes the cache's folder; throws `DataError` if it cannot be made.
private func makeCacheFolder(_ path: String) throws(DataError) {
  do throws(CheckpointError) { try makeFolder(path) } catch {
    throw DataError(
      path, "the token cache: \(error); give another folder with data.cache, or data.cache: off")
  }
}
