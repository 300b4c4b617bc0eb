import Checkpoint
import Comm
import Tensor

/// Version of Sail.
public let sailVersion = "0.1.0"

/// Versions of the libraries that do the work, on one line.
public var libraryVersions: String {
  [Comm.libraryVersion, Tensor.libraryVersion, Checkpoint.libraryVersion]
    .joined(separator: "; ")
}
