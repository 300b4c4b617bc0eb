import Checkpoint
import Comm
import JSONText
import Model
import Synthetic
import Tensor
import Tokenizer
import Worker

/// The sentence for an error and the exit code of its kind (README, "Exit codes").
public func describeFailure(_ error: any Error) -> (message: String, code: Int32) {
  let code: Int32
  switch error {
  case is ConfigurationError, is SyntheticError: code = 2
  case is DataError, is ModelError, is TokenizerError, is CheckpointError, is JSONError,
    is OracleError:
    code = 3
  case let failure as AgreedFailure: code = failure.code
  default: code = 1
  }
  return ("\(error)", code)
}

/// Whether this CPU has the instructions that Sail is compiled for.
public var isCPUSupported: Bool { Compute.isCPUSupported }
