import CStopRequest
import Glibc

/// Peak resident memory of this process, in bytes.
func peakMemoryBytes() -> Double {
  var usage = rusage()
  // RUSAGE_SELF imports as an enum of another type than the parameter's.
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return Double(usage.ru_maxrss) * 1024
}

/// Makes SIGUSR1 ask for a stop after the current step.
func listenForStopRequests() { sail_listen_for_stop() }

/// Whether SIGUSR1 came.
func isStopRequested() -> Bool { sail_stop_was_requested() != 0 }
