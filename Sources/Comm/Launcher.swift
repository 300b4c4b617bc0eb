/// The variables by which launchers tell a process how many copies they started, nearest first.
private let launchers: [(count: String, place: String, name: String)] = [
  ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun of another Open MPI"),
  ("PMI_SIZE", "PMI_RANK", "mpirun of another MPI"),
  ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun without PMIx"),
]

/// Says whether a launcher started several copies of this program that do not see each other.
///
/// An `mpirun` that belongs to another MPI than the one this program is linked with starts N programs
/// that each believe to be alone: N runs would write over each other.
/// - Parameters:
///   - worldSize: the size of `MPI_COMM_WORLD`.
///   - environment: the environment as it was before `MPI_Init`.
/// - Returns: a sentence with what to do, or nil when all is well.
public func launcherMismatch(worldSize: Int, environment: [String: String]) -> String? {
  guard worldSize == 1 else { return nil }
  for launcher in launchers {
    guard let text = environment[launcher.count], let count = Int(text) else { continue }
    // Our own mpirun answered for this process, whatever an outer Slurm step says.
    if launcher.count == "OMPI_COMM_WORLD_SIZE" && count == 1 { return nil }
    guard count > 1 else { continue }
    return """
      the launcher started \(count) copies (\(launcher.count)=\(count), \(launcher.name)) that do \
      not see each other: each is alone in its MPI world; start them with the mpirun of the Open \
      MPI this program is linked with (`mpirun --version` against `ldd` on the program), under \
      Slurm with that mpirun inside the allocation or with `srun --mpi=pmix`
      """
  }
  return nil
}

/// Whether this process is the copy that speaks for all when ``launcherMismatch(worldSize:environment:)``
/// finds several: the launcher's rank 0, or any copy whose place is unknown.
func speaksForCopies(environment: [String: String]) -> Bool {
  for launcher in launchers where (environment[launcher.count].flatMap { Int($0) } ?? 1) > 1 {
    return (environment[launcher.place].flatMap { Int($0) } ?? 0) == 0
  }
  return true
}
