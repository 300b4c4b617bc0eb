import Foundation
import JSONText
import Testing

extension EndToEndTests {
  /// Steps of `sail train` against torch.autograd.
  @Suite struct TrainingSteps {
    private static let expectedLabels = """
      method: sail
      sail: {ddp: {fraction: 1, labels: expected, preference_coefficient: 0.2}}
      """
    /// Routes of the steps that are not plain pairs with the data's labels.
    private static let routes = [
      "ddp_expected_step": expectedLabels, "ddp_probit_expected_step": expectedLabels,
      "ddp_argmax_step": """
      method: sail
      sail: {ddp: {fraction: 1, labels: argmax, preference_coefficient: 0}}
      """,
      "sft_step": "method: sft",
    ]

    @Test(
      arguments: [
        "dpo", "ipo", "ipo_mean", "hinge", "smoothing", "hinge_smoothing", "probit", "revkl",
        "ddp_expected", "ddp_probit_expected", "ddp_argmax", "sft",
      ].map { "\($0)_step" })
    func oneStepIsTorchs(_ name: String) throws {
      try withWorkFolder { folder in
        let step = try fileJSON(fixture("steps/\(name).json"))
        let start = try Tensors(fixture(try step.words("model")))
        let expected = try Tensors(fixture("steps/\(name).safetensors"))
        var first: Tensors?
        for groups in [1, 2, 4, 8] {
          let output = folder.file("run-\(groups)")
          try sailDone(try command(name, step, groups: groups, output: output, folder))
          let update = try Tensors(output + "/model").minus(start)
          try expectUpdate(update, expected, "\(groups) groups")
          try checkMetrics(try folder.lines("run-\(groups)/metrics.jsonl"), step, name)
          if let first {
            #expect(try update.minus(first).norm / update.norm <= 1e-5)
          } else {
            first = update
          }
        }
      }
    }

    private func command(
      _ name: String, _ step: JSON, groups: Int, output: String, _ folder: WorkFolder
    ) throws -> [String] {
      let rows = try step.list("rows")
      var data = try fileBytes(fixture("pairs.jsonl"))
      // The supervised step has one long row more.
      let long = try fileBytes(fixture("long.jsonl")).split(separator: UInt8(ascii: "\n"))[0]
      if rows.count == 9 { data += long + [UInt8(ascii: "\n")] }
      let optimizer = try #require(step["optimizer"])
      let reference = step["reference"]?.string.map { "reference: \(fixture($0))" } ?? ""
      let path = try folder.write(
        "run.yaml",
        """
        model: \(fixture(try step.words("model")))
        \(reference)
        \(Self.routes[name] ?? "method: dpo")
        objective: \(objective(of: step))
        data: {train: \(try folder.write("data.jsonl", bytes: data)), shuffle: false}
        batch: {pairs: \(rows.count), groups: \(groups)}
        optimizer: {name: sgd, learning_rate: \(try optimizer.value("learning_rate")), clip: 0}
        precision: f32
        steps: 1
        output: \(output)
        """)
      return ["train", "--config", path]
    }

    /// The objective as a fixture names it; what it leaves out is the default.
    private func objective(of step: JSON) -> String {
      let keys = [
        ("loss", "loss_kind"), ("beta", "beta"), ("label_smoothing", "label_smoothing"),
        ("link", "link"), ("revkl", "revkl"),
      ]
      let members = keys.compactMap { key, name in
        step[name].map { "\(key): \($0.string ?? $0.text)" }
      }
      return "{\(members.joined(separator: ", "))}"
    }

    private func checkMetrics(_ lines: [JSON], _ step: JSON, _ name: String) throws {
      try #require(lines.count == 1)
      let line = lines[0]
      #expect(try line.value("step") == 1)
      func expectClose(_ key: String, _ expected: Double) throws {
        let found = try line.value(key)
        #expect(relativeDifference(found, expected) <= 1e-4, "\(key): \(found), \(expected)")
      }
      try expectClose("loss", try step.value("loss"))
      try expectClose("grad_norm", try step.value("grad_norm"))
      let rows = try step.list("rows")
      guard name != "sft_step" else {
        #expect(try line.value("num_tokens") == step.value("completion_tokens"))
        return
      }
      if let penalty = rows.first?["revkl"]?.number {
        #expect(penalty > 0)
        let mean = try rows.map { try $0.value("revkl") }.reduce(0, +) / Double(rows.count)
        try expectClose("sail/revkl", mean)
      }
      if Self.routes[name] == nil {
        for key in ["chosen", "rejected", "margins", "accuracies"].map({ "rewards/\($0)" }) {
          try expectClose(key, try step.value(key))
        }
        let chosen = try rows.map { try $0.list("logps")[0].number ?? 0 }.reduce(0, +)
        try expectClose("logps/chosen", chosen / Double(rows.count))
      } else {
        #expect(try line.value("sail/ddp/fraction") == 1)
        let u = try rows.map { try $0.value("u") }.reduce(0, +)
        try expectClose("sail/ddp/u", u / Double(rows.count))
      }
    }

    @Test(arguments: ["adamw", "rmsprop"], [0, 1])
    func tenStepsOfAnOptimizerAreTorchs(_ optimizer: String, _ index: Int) throws {
      try withWorkFolder { folder in
        let file = try fileJSON(fixture("steps/dpo_\(optimizer).json"))
        let run = try file.list("runs")[index]
        let rate = try #require(file["optimizer"]).value("learning_rate")
        let momentum = run["momentum"]?.number ?? 0
        let path = try folder.write(
          "run.yaml",
          """
          model: \(fixture(try run.words("model")))
          reference: \(fixture(try run.words("reference")))
          method: dpo
          data: {train: \(fixture("pairs.jsonl")), shuffle: false}
          batch: {pairs: 8, groups: 4}
          optimizer: {name: \(optimizer), learning_rate: \(rate), momentum: \(momentum),
            weight_decay: 0.01, clip: 1.0}
          steps: 10
          output: \(folder.file("run"))
          """)
        try sailDone(["train", "--config", path])
        let truth = try #require(run["float64"])
        let lines = try folder.lines("run/metrics.jsonl")
        try #require(lines.count == 10)
        for (key, list) in [("loss", "losses"), ("grad_norm", "grad_norms")] {
          for (line, expected) in zip(lines, try truth.list(list).compactMap(\.number)) {
            let found = try line.value(key)
            #expect(relativeDifference(found, expected) <= 1e-4, "\(key): \(found), \(expected)")
          }
        }
      }
    }
  }
}

/// A step's update against torch's: the whole, and each tensor that has a share in it.
func expectUpdate(_ update: Tensors, _ expected: Tensors, _ comment: String) throws {
  let difference = try update.minus(expected)
  #expect(difference.norm / expected.norm <= 1e-4, "\(comment)")
  for (index, norm) in expected.norms.enumerated() where norm > 1e-3 * expected.norm {
    let relative = difference.norms[index] / norm
    #expect(relative <= 1e-3, "\(comment): \(expected.names[index]) \(relative)")
  }
}
