import CMPI

/// What went wrong between the ranks, in one sentence.
public struct CommError: Error, CustomStringConvertible, Sendable {
  /// What, where, expected, found, and what to do.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// The failure of an ``Communicator/agree(_:)`` phase, the same on every rank.
///
/// Every rank throws it, so every rank leaves by the same way: ``withMPI(options:describe:_:)`` prints
/// `message` on the rank it came from only, finalizes, and answers `code` everywhere.
/// Whoever catches one must do so on every rank: a rank that goes on alone hangs the job.
public struct AgreedFailure: Error, CustomStringConvertible, Sendable {
  /// The sentence for the user, as described by the failing rank.
  public let message: String
  /// The exit code of the process on every rank.
  public let code: Int32
  /// The lowest rank that failed.
  public let rank: Int
  /// This rank's own error; nil where the phase succeeded.
  public let underlying: (any Error)?
  /// The message.
  public var description: String { message }
}

/// Throws a ``CommError`` that names the call when an MPI call did not return `MPI_SUCCESS`.
func check(_ code: Int32, _ call: String) throws(CommError) {
  guard code != MPI_SUCCESS else { return }
  var text = [UInt8](repeating: 0, count: Int(MPI_MAX_ERROR_STRING) + 1)
  var length: Int32 = 0
  let known = text.withUnsafeMutableBytes { bytes in
    MPI_Error_string(code, bytes.bindMemory(to: CChar.self).baseAddress, &length)
  }
  let reason =
    known == MPI_SUCCESS
    ? String(decoding: text.prefix(Int(length)), as: UTF8.self) : "error \(code)"
  throw CommError("\(call) failed: \(reason)")
}
