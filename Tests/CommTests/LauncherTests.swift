import Testing

extension CommTests {
  /// Launchers that start copies which do not see each other.
  @Suite(.serialized, .timeLimit(.minutes(4)))
  struct Launchers {
    @Test(arguments: [
      ("OMPI_COMM_WORLD_SIZE", "4"), ("PMI_SIZE", "3"), ("SLURM_STEP_NUM_TASKS", "2"),
    ])
    func copiesThatDoNotSeeEachOther(variable: String, count: String) throws {
      let job = try Job.startAlone(["collectives"], environment: [variable: count])
      #expect(job.status == 2)
      #expect(job.complaints.count == 1)
      let message = job.complaints.first ?? ""
      #expect(
        message.hasPrefix("sail: the launcher started \(count) copies (\(variable)=\(count),"),
        "\(job.errors)")
      #expect(message.contains("do not see each other"))
      #expect(job.output.isEmpty)
    }

    @Test func onlyTheFirstCopySpeaks() throws {
      let job = try Job.startAlone(
        ["collectives"], environment: ["PMI_SIZE": "3", "PMI_RANK": "1"])
      #expect(job.status == 2)
      #expect(job.complaints.isEmpty)
      #expect(job.output.isEmpty)
    }

    @Test(arguments: [
      [:], ["SLURM_NTASKS": "4"], ["PMI_SIZE": "1", "SLURM_STEP_NUM_TASKS": "1"],
      ["PMI_SIZE": "many"],
    ])
    func aProgramAlone(environment: [String: String]) throws {
      let job = try Job.startAlone(["collectives"], environment: environment)
      #expect(job.output == "collectives: ok, 1 ranks on 1 nodes\n", "\(job.errors)")
      #expect(job.status == 0)
    }

    @Test func aMissingLauncherIsAnError() throws {
      let error = try #require(throws: JobError.self) {
        try Job.find("mpirun", path: "/nonexistent:/dev")
      }
      #expect(error.description.hasPrefix("mpirun is not on PATH (/nonexistent:/dev)"))
    }
  }
}
