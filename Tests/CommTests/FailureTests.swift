import Testing

extension CommTests {
  /// How jobs end: the message once, the exit code, at once.
  @Suite(.serialized, .timeLimit(.minutes(4)))
  struct Failures {
    @Test(arguments: [(2, 0), (3, 2), (4, 1)])
    func aThrowingRankEndsTheJob(ranks: Int, failing: Int) throws {
      let job = try Job.start(ranks: ranks, ["throw", "--rank", "\(failing)"])
      #expect(job.complaints == ["sail: rank \(failing) cannot go on"])
      #expect(job.status == 3)
      #expect(job.seconds < 20)
    }

    @Test func alone() throws {
      let job = try Job.startAlone(["throw"], environment: [:])
      #expect(job.errors == "sail: rank 0 cannot go on\n")
      #expect(job.status == 3)
    }

    @Test func theSameErrorEverywhereIsSaidOnce() throws {
      let job = try Job.start(ranks: 4, ["throw-everywhere"])
      #expect(job.complaints == ["sail: all ranks found the same fault"])
      #expect(job.status == 3)
    }

    @Test(arguments: [("agree-one", 3, 2), ("agree-nested", 2, 1)])
    func agreeOnAFailure(name: String, ranks: Int, failing: Int) throws {
      let job = try Job.start(ranks: ranks, [name, "--rank", "\(failing)"])
      #expect(job.complaints == ["sail: rank \(failing) cannot read it"])
      #expect(job.status == 3)
      #expect(!job.aborted)
      #expect(!job.output.contains("not reached"))
    }

    @Test func agreeOnTheLowestOfManyFailures() throws {
      let job = try Job.start(ranks: 4, ["agree-all"])
      #expect(job.complaints == ["sail: rank 0 cannot read it"])
      #expect(job.status == 3)
      #expect(!job.aborted)
    }

    @Test(arguments: [
      ("different-slices", "sail: orderedSum: the ranks were called with different slices"),
      ("different-arrays", "sail: node memory: the ranks asked for different arrays"),
    ])
    func differentCallsAreRefused(name: String, start: String) throws {
      let job = try Job.start(ranks: 3, [name, "--rank", "1"])
      #expect(job.complaints.count == 1 && job.complaints[0].hasPrefix(start), "\(job.errors)")
      #expect(job.status == 1)
      #expect(!job.aborted)
    }

    @Test func aShortAccumulatorOnOneRankEndsTheJob() throws {
      let job = try Job.start(ranks: 2, ["short-accumulator", "--rank", "1"])
      #expect(
        job.complaints == [
          "sail: orderedSum: expected an accumulator of 50 elements, the slice of rank 1, found 3"
        ])
      #expect(job.status == 1)
    }

    @Test func sharedMemoryWithoutRoomIsRefused() throws {
      let job = try Job.start(ranks: 2, ["room"])
      #expect(job.complaints.count == 1)
      let message = job.complaints.first ?? ""
      #expect(message.contains("needed 140737488"), "\(message)")
      #expect(message.contains("available "))
      #expect(message.contains("--mca osc_sm_backing_directory DIR"))
      #expect(job.status == 1)
      #expect(!job.aborted)
    }

    @Test func privateMemoryWithoutRoomIsRefused() throws {
      let job = try Job.startAlone(["room"], environment: [:])
      #expect(job.complaints.first?.contains("cannot reserve 70368744") == true, "\(job.errors)")
      #expect(job.status == 1)
    }

    @Test func aSecondSessionIsRefused() throws {
      let job = try Job.start(ranks: 2, ["again"])
      #expect(job.complaints.first?.contains("MPI was already initialized") == true)
      #expect(job.status == 1)
    }

    @Test func theValueOfTheBodyIsTheExitCode() throws {
      let job = try Job.start(ranks: 2, ["exit"])
      #expect(job.status == 75)
      #expect(job.complaints.isEmpty)
    }
  }
}
