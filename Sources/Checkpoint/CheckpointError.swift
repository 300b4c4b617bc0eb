import Glibc
import JSONText

/// Why a file or folder could not be read or written: one sentence with its path.
public struct CheckpointError: Error, CustomStringConvertible, Sendable {
  /// The sentence.
  public let description: String

  /// An error from its sentence.
  public init(_ description: String) { self.description = description }

  /// The error of a system call that has just failed, in the words of `errno`.
  ///
  /// `action` goes on from "cannot", such as "write".
  static func system(_ action: String, _ path: String, code: Int32 = errno) -> CheckpointError {
    let advice =
      switch code {
      case ENOSPC, EDQUOT: "; free some space or choose another output folder"
      case EACCES, EPERM, EROFS: "; check the permissions or choose another folder"
      case ENOTDIR: "; a part of the path is a file where a folder is expected"
      case EISDIR: "; a file is expected, this is a folder"
      default: ""
      }
    let reason = String(cString: strerror(code))
    return CheckpointError("cannot \(action) \(quoted(path)): \(reason)\(advice)")
  }
}

/// A name from a file as it may stand in a message: in quotes, escaped, at most 200 characters.
func quoted(_ name: String) -> String {
  let clipped = name.unicodeScalars.prefix(200)
  let isClipped = clipped.endIndex != name.unicodeScalars.endIndex
  return JSON.string(String(clipped) + (isClipped ? "…" : "")).text
}

/// The product of a shape, nil if an entry is negative or the product does not fit.
func elementCount(_ shape: [Int]) -> Int? {
  var count = 1
  for size in shape {
    let (next, isOverflow) = count.multipliedReportingOverflow(by: size)
    guard size >= 0, !isOverflow else { return nil }
    count = next
  }
  return count
}

/// Whether one text comes before another in the order of their UTF-8 bytes.
func precedes(_ left: String, _ right: String) -> Bool {
  left.utf8.lexicographicallyPrecedes(right.utf8)
}
