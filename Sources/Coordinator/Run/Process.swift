import CStopRequest
import Glibc

/// Peak resident memory of this process, in bytes.
func peakMemoryBytes() -> Double {
  var usage = rusage()
  // RUSAGE_SELF imports as an enum of another type than the parameter's.
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return Double(usage.ru_maxrss) * 1024
}

/// Memory of this machine, or of the container if that has less, in bytes.
func physicalMemoryBytes() -> Double {
  let machine = Double(sysconf(Int32(_SC_PHYS_PAGES))) * Double(sysconf(Int32(_SC_PAGESIZE)))
  return min(machine, Machine.containerLimit)
}

/// A number of bytes as people read it: in GB, what is less than half of one in MB or kB.
func gigabytes(_ bytes: Double) -> String {
  switch bytes {
  case 5e8...: "\((bytes / 1e8).rounded() / 10) GB"
  case 1e6...: "\(Int((bytes / 1e6).rounded())) MB"
  default: "\(Int((bytes / 1e3).rounded(.up))) kB"
  }
}

/// Makes SIGUSR1 ask for a stop after the current step.
func listenForStopRequests() { sail_listen_for_stop() }

/// Whether SIGUSR1 came.
func isStopRequested() -> Bool { sail_stop_was_requested() != 0 }
