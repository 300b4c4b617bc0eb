import CStopRequest
import Glibc

/// Peak resident memory of this process, in bytes.
func peakMemoryBytes() -> Double {
  var usage = rusage()
  // RUSAGE_SELF imports as an enum of another type than the parameter's.
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return Double(usage.ru_maxrss) * 1024
}

// The flag is a static variable of a C header, of which every object file gets its own copy. Both
// functions below must use this file's, so neither may be inlined into another.

/// Makes SIGUSR1 ask for a stop after the current step.
@inline(never)
func listenForStopRequests() { sail_listen_for_stop() }

/// Whether SIGUSR1 came.
@inline(never)
func isStopRequested() -> Bool { sail_stop_was_requested() != 0 }
