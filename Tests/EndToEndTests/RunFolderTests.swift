import Foundation
import Glibc
import JSONText
import Testing

/// A short DPO run on the reference folders, six steps with a checkpoint every two.
struct ShortRun {
  let folder: WorkFolder

  init(_ folder: WorkFolder) throws {
    self.folder = folder
    try folder.write(
      "run.yaml",
      """
      model: \(fixture("gqa-tied"))
      method: dpo
      data: {train: \(fixture("pairs.jsonl"))}
      batch: {pairs: 4, groups: 2}
      optimizer: {learning_rate: 1e-3}
      steps: 6
      checkpoint: {every: 2}
      output: \(folder.file("out"))
      """)
  }

  func arguments(_ settings: [String] = [], resume: String? = nil) -> [String] {
    ["train", "--config", folder.file("run.yaml")] + (resume.map { ["--resume", $0] } ?? [])
      + settings.flatMap { ["--set", $0] }
  }
}

extension EndToEndTests {
  /// What a run does with a folder that holds one, and its checkpoints.
  @Suite struct RunFolders {
    @Test func aFolderThatHoldsARunIsRefused() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        try sailDone(run.arguments())
        let metrics = try folder.bytes("out/metrics.jsonl")
        for arguments in [run.arguments(), run.arguments(resume: "never")] {
          let job = try sail(arguments)
          #expect(job.code == 2)
          #expect(job.complaints.count == 1)
          #expect(job.complaints.first?.contains("holds a run") == true, "\(job.errors)")
          #expect(job.complaints.first?.contains("--resume auto") == true)
        }
        #expect(try folder.bytes("out/metrics.jsonl") == metrics)
      }
    }

    @Test func aFinishedRunSaysSo() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        // Where there is none, auto starts one.
        try sailDone(run.arguments(resume: "auto"))
        let before = (
          try folder.bytes("out/model/model.safetensors"), try folder.bytes("out/metrics.jsonl")
        )
        let job = try sailDone(run.arguments(resume: "auto"), .ranks(2))
        #expect(job.errors.contains("the run is finished: 6 steps"), "\(job.errors)")
        #expect(try folder.bytes("out/model/model.safetensors") == before.0)
        #expect(try folder.bytes("out/metrics.jsonl") == before.1)
      }
    }

    @Test func onlySomeSettingsMayChange() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        try sailDone(run.arguments())
        for (setting, name) in [
          ("optimizer.learning_rate=2e-3", "optimizer.learning_rate"), ("seed=1", "seed"),
          ("batch.pairs=8", "batch.pairs"), ("steps=4", "steps"),
          ("model=\(fixture("mha-untied-sharded"))", "model"),
        ] {
          let job = try sail(run.arguments([setting, "steps=8"].reversed(), resume: "auto"))
          #expect(job.code == 2, "\(setting): \(job.errors)")
          #expect(job.complaints.count == 1)
          #expect(job.complaints.first?.contains(": \(name)") == true, "\(job.errors)")
        }
        let free = ["steps=8", "threads=1", "checkpoint.every=3", "evaluate.every=7"]
        try sailDone(run.arguments(free, resume: "auto"))
        #expect(try folder.lines("out/metrics.jsonl").count == 8)
        try sailDone(run.arguments(["steps=8", "output=\(folder.file("long"))"]))
        #expect(
          try folder.bytes("out/model/model.safetensors")
            == folder.bytes("long/model/model.safetensors"))
      }
    }

    @Test func aBrokenCheckpointIsLeftOut() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        try sailDone(run.arguments())
        let model = try folder.bytes("out/model/model.safetensors")
        let newest = "out/checkpoints/step-00000006"
        try flip(folder, "\(newest)/slice-0000.planes")
        try folder.remove("out/model")

        let verified = try sail(["inspect", "--verify", folder.file(newest)])
        #expect(verified.code == 3)
        #expect(verified.complaints.count == 1)
        #expect(verified.complaints.first?.contains("slice-0000.planes") == true)

        let job = try sailDone(run.arguments(resume: "auto"))
        #expect(job.errors.contains("broken checkpoint \(folder.file(newest))"), "\(job.errors)")
        let older = folder.file("out/checkpoints/step-00000004")
        #expect(job.errors.contains("going on from \(older)"), "\(job.errors)")
        #expect(try folder.bytes("out/model/model.safetensors") == model)
        // The broken one was written anew.
        try sailDone(["inspect", "--verify", folder.file(newest)])
      }
    }

    private func flip(_ folder: WorkFolder, _ name: String) throws {
      var bytes = try folder.bytes(name)
      bytes[bytes.count / 2] ^= 1
      try folder.write(name, bytes: bytes)
    }

    @Test func everyFileIsUnderAChecksum() throws {
      try withWorkFolder { folder in
        try sailDone(try ShortRun(folder).arguments(["steps=1"]), .ranks(2))
        let checkpoint = "out/checkpoints/step-00000001"
        let whole = try sailDone(["inspect", "--verify", folder.file(checkpoint)])
        #expect(whole.output.contains("whole: "))
        let assets = try folder.names("\(checkpoint)/assets").map { "assets/\($0)" }
        let files = try folder.names(checkpoint).filter { $0 != "assets" } + assets
        #expect(files.contains("MANIFEST") && files.contains("slice-0001.planes"))
        for file in files {
          let name = "\(checkpoint)/\(file)"
          let bytes = try folder.bytes(name)
          try flip(folder, name)
          #expect(try sail(["inspect", "--verify", folder.file(checkpoint)]).code == 3, "\(file)")
          try folder.write(name, bytes: bytes.dropLast())
          #expect(try sail(["inspect", "--verify", folder.file(checkpoint)]).code == 3, "\(file)")
          try folder.write(name, bytes: bytes)
        }
        try sailDone(["inspect", "--verify", folder.file(checkpoint)])
        // An unfinished one has another name.
        let unfinished = try folder.copy(folder.file(checkpoint), as: "step-1.unfinished")
        try FileManager.default.removeItem(atPath: unfinished + "/MANIFEST")
        #expect(try sail(["inspect", "--verify", unfinished]).code == 3)
      }
    }

    @Test(arguments: ["gqa-tied", "mqa-tied-bf16"])
    func anExportIsTheModel(_ model: String) throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        try sailDone(run.arguments(["model=\(fixture(model))"]))
        let checkpoint = folder.file("out/checkpoints/step-00000006")
        try sailDone(["export", checkpoint, "--out", folder.file("exported")])
        let names = try folder.names("out/model")
        #expect(try folder.names("exported") == names)
        for name in names {
          #expect(
            try folder.bytes("exported/\(name)") == folder.bytes("out/model/\(name)"), "\(name)")
        }
        #expect(
          try folder.bytes("out/model/tokenizer.json")
            == fileBytes(fixture("\(model)/tokenizer.json")))
        try sailDone(["export", checkpoint, "--out", folder.file("single"), "--dtype", "f32"])
        #expect(try Tensors(folder.file("single")).norm > 0)
      }
    }

    @Test func twoRunsInOneFolderAreRefused() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let endless = run.arguments(["steps=1000000", "checkpoint.every=1000000"])
        let first = try RunningJob(endless)
        try first.wait(until: "the first step is done") { folder.exists("out/metrics.jsonl") }
        for resume in ["never", "auto"] {
          let second = try sail(run.arguments(resume: resume))
          #expect(second.code == 2)
          #expect(second.complaints.count == 1)
          #expect(second.complaints.first?.contains("another run is writing") == true)
        }
        first.send(SIGKILL)
        _ = try first.finish()
        // The lock went with its holder.
        try sailDone(run.arguments(resume: "auto"))
        #expect(try folder.lines("out/metrics.jsonl").count == 6)
      }
    }

    @Test func moreRanksThanGroupsAreRefused() throws {
      try withWorkFolder { folder in
        let job = try sail(try ShortRun(folder).arguments(), .ranks(3))
        #expect(job.code == 2)
        #expect(
          job.complaints == [
            "sail: 3 ranks, but batch.groups is 2: set batch.groups ≥ ranks, or start fewer ranks"
          ])
        #expect(!folder.exists("out/model"))
      }
    }
  }
}
