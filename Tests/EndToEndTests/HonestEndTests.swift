import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// A run that learned nothing, or nonsense, does not end as if all were well.
  @Suite struct HonestEnds {
    @Test(arguments: [nil, 2])
    func anOracleThatAlwaysFailsEndsTheRun(_ ranks: Int?) throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let judge = try folder.write(
          "judge.py",
          """
          import json, sys
          for line in sys.stdin:
              answer = {"id": json.loads(line)["id"], "error": "the judge is asleep"}
              print(json.dumps(answer), flush=True)
          """)
        let settings = ["oracle={command: [python3, \(judge)]}", "evaluate.every=0"]
        let job = try sail(run.arguments("out", settings), Launch(ranks: ranks))
        #expect(job.code == 3, "\(job.errors)")
        #expect(job.errors.contains("warning: step 1: the oracle failed on"), "\(job.errors)")
        let complaint = try #require(job.complaints.first)
        #expect(job.complaints.count == 1 && complaint.contains("3 steps in a row"))
        #expect(complaint.contains("the judge is asleep"))
        #expect(!folder.exists("out/model"))
        let failed = try folder.lines("out/samples.jsonl").filter { $0.has("error") }
        #expect(failed.allSatisfy { $0["kept"]?.boolean == false && $0["scores"]?.isNull == true })
        #expect(failed.count >= 6)
      }
    }

    @Test func weightsThatAreNotFiniteAreNotSaved() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let job = try sail(
          run.arguments("out", ["optimizer.learning_rate=1e308", "checkpoint.every=1"]))
        #expect(job.code == 1 && job.errors.contains("the weights are not finite"), "\(job.errors)")
        #expect(!folder.exists("out/model"))
        #expect(try folder.names("out/checkpoints").isEmpty)
      }
    }

    @Test func aShortRunWithoutAnyUpdateIsAnError() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        let job = try sail(
          run.arguments("out", ["objective.beta=1e308", "steps=2", "evaluate.every=0"]))
        #expect(job.code == 1 && job.errors.contains("2 steps in a row"), "\(job.errors)")
        #expect(!folder.exists("out/model"))
      }
    }

    @Test func aChangedModelConfigurationIsNoticedOnResume() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("out", ["steps=2"]))
        let file = folder.file("data/model/config.json")
        let changed = try fileJSON(file).members ?? []
        try folder.write(
          "data/model/config.json",
          JSON.object(
            changed.map { $0.key == "rms_norm_eps" ? .init(key: $0.key, value: 0.1) : $0 }
          ).text)
        let job = try sail(run.arguments("out", resume: "auto"))
        #expect(job.code == 3 && job.errors.contains("config.json has changed"), "\(job.errors)")
      }
    }

    @Test func aRoundThatLostItsEndIsRefused() throws {
      try withWorkFolder { folder in
        let run = try MixedRun(folder)
        try sailDone(run.arguments("out", OnlineSteps.rounds + ["steps=4"]))
        let step = "out/checkpoints/step-00000004"
        let lines = try folder.bytes("\(step)/rollouts.jsonl")
        #expect(lines.filter { $0 == 10 }.count >= 8)
        let cut = Array(lines.split(separator: 10).dropLast().joined(separator: [10])) + [10]
        try folder.write("\(step)/rollouts.jsonl", bytes: cut)
        let job = try sail(
          run.arguments("out", OnlineSteps.rounds, resume: folder.file(step)))
        #expect(job.code == 3, "\(job.errors)")
      }
    }
  }
}
