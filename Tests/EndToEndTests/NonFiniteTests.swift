import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// Steps whose loss or gradient is not finite.
  @Suite struct NonFinite {
    @Test(arguments: [(Float.nan, 1), (1e38, 2)])
    func aBrokenWeight(_ weight: Float, ranks: Int) throws {
      try withWorkFolder { folder in
        let model = try folder.copy(fixture("gqa-tied"), as: "model")
        try breakWeight(folder, "model/model.safetensors", weight)
        let run = try ShortRun(folder)
        let settings = ["model=\(model)", "checkpoint.every=1"]
        let job = try sail(run.arguments(settings), .ranks(ranks))
        #expect(job.code == 1)
        #expect(job.complaints.count == 1)
        let sentence = job.complaints.first ?? ""
        #expect(sentence.contains("3 steps in a row"), "\(job.errors)")
        #expect(sentence.contains("not finite"))

        let metrics = try folder.lines("out/metrics.jsonl")
        #expect(metrics.count == 3)
        #expect(try metrics.allSatisfy { try $0.value("update_skipped") == 1 })
        for step in 1...3 {
          let rows = try folder.lines("out/nonfinite-step-\(step).jsonl")
          #expect(rows.count == 4)
          for row in rows {
            #expect(try row.value("step") == Double(step))
            #expect(try !row.words("prompt").isEmpty)
            #expect(try row.list("token_ids").count == 2)
          }
        }
        // Weights that are no numbers are not worth a checkpoint.
        guard weight.isFinite else {
          #expect(try folder.names("out/checkpoints").isEmpty)
          return
        }
        // The weights are as they were, in every bit.
        let newest = try #require(try folder.names("out/checkpoints").last)
        try sailDone([
          "export", folder.file("out/checkpoints/\(newest)"), "--out", folder.file("exported"),
        ])
        let exported = try Tensors(folder.file("exported"))
        let start = try Tensors(model)
        #expect(exported.names == start.names)
        for (found, expected) in zip(exported.tensors, start.tensors) {
          #expect(found.values.map(\.bitPattern) == expected.values.map(\.bitPattern))
        }
        #expect(!folder.exists("out/model"))
      }
    }

    private func breakWeight(_ folder: WorkFolder, _ file: String, _ weight: Float) throws {
      var bytes = try folder.bytes(file)
      let start = 8 + bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
      let header = try JSON(parsing: Array(bytes[8..<start]))
      let tensor = try #require(header["model.layers.0.mlp.down_proj.weight"])
      let place = start + (try #require(tensor.list("data_offsets")[0].integer))
      withUnsafeBytes(of: weight.bitPattern.littleEndian) {
        bytes.replaceSubrange(place..<place + 4, with: $0)
      }
      try folder.write(file, bytes: bytes)
    }

    /// The first step is applied and ruins the weights, the others are left out.
    @Test func aRunThatDiverges() throws {
      try withWorkFolder { folder in
        let run = try ShortRun(folder)
        let settings = [
          "optimizer.name=sgd", "optimizer.learning_rate=1e30", "optimizer.clip=0",
          "checkpoint.every=1", "checkpoint.keep=9",
        ]
        let job = try sail(run.arguments(settings))
        #expect(job.code == 1, "\(job.errors)")
        #expect(!folder.exists("out/nonfinite-step-1.jsonl"))
        #expect(folder.exists("out/nonfinite-step-4.jsonl"))
        let names = try folder.names("out/checkpoints")
        #expect(names == [1, 2, 3].map { "step-0000000\($0)" })
        for name in names {
          try sailDone([
            "export", folder.file("out/checkpoints/\(name)"), "--out", folder.file(name),
          ])
        }
        let first = try folder.bytes("step-00000001/model.safetensors")
        #expect(try folder.bytes("step-00000003/model.safetensors") == first)
        #expect(try first != fileBytes(fixture("gqa-tied/model.safetensors")))
      }
    }
  }
}
