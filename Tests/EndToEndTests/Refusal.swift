import Foundation
import JSONText
import Testing

/// A command that must be refused: how it is made, its exit code, and parts of its sentence.
struct Refusal: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let code: Int32
  let parts: [String]
  let arguments: @Sendable (WorkFolder) throws -> [String]

  init(
    _ name: String, code: Int32 = 3, _ parts: [String],
    _ arguments: @escaping @Sendable (WorkFolder) throws -> [String]
  ) {
    testDescription = name
    self.code = code
    self.parts = parts
    self.arguments = arguments
  }

  /// A copy of a reference folder that is changed and then scored.
  static func model(
    _ name: String, _ parts: [String], of source: String = "gqa-tied",
    _ change: @escaping @Sendable (WorkFolder) throws -> Void
  ) -> Refusal {
    Refusal(name, parts) { folder in
      try folder.copy(fixture(source), as: "model")
      try change(folder)
      return score(data: fixture("pairs.jsonl"))
    }
  }

  /// A change of one value of config.json, and others with it.
  static func configuration(
    _ key: String, _ value: JSON, and others: [String: JSON] = [:], _ parts: [String]
  ) -> Refusal {
    model("\(key): \(value.text)", parts) { folder in
      let values = others.merging([key: value]) { $1 }
      try folder.changeConfiguration(values)
    }
  }

  /// An `adapter_config.json` to change.
  struct AdapterSettings {
    var settings: [String: JSON]
    /// Layers of its base model's configuration, nil for what they are.
    var layers: Int?
  }

  /// A copy of a reference adapter whose settings are changed.
  static func adapter(
    _ name: String, _ parts: [String],
    _ change: @escaping @Sendable (inout AdapterSettings) -> Void
  ) -> Refusal {
    Refusal(name, parts) { folder in
      try folder.copy(fixture("adapters/llama-all"), as: "model")
      let members = try fileJSON(folder.file("model/adapter_config.json")).members ?? []
      var adapter = AdapterSettings(
        settings: Dictionary(uniqueKeysWithValues: members.map { ($0.key, $0.value) }))
      adapter.settings["base_model_name_or_path"] = .string(fixture("families/llama"))
      change(&adapter)
      if let layers = adapter.layers {
        try folder.copy(fixture("families/llama"), as: "base")
        let base = try fileJSON(folder.file("base/config.json")).members ?? []
        let changed = base.map {
          $0.key == "num_hidden_layers"
            ? JSON.Member(key: $0.key, value: .integer(Int64(layers))) : $0
        }
        try folder.write("base/config.json", JSON.object(changed).text)
        adapter.settings["base_model_name_or_path"] = "base"
      }
      try folder.write(
        "model/adapter_config.json",
        JSON.object(adapter.settings.map { JSON.Member(key: $0.key, value: $0.value) }).text)
      return score(data: fixture("pairs.jsonl"))
    }
  }

  /// A copy of a folder that is changed and then gives rewards, of one completion or of the pairs'.
  static func reward(
    _ name: String, _ parts: [String], of source: String = "rewards/qwen2", data: String? = nil,
    _ change: @escaping @Sendable (WorkFolder) throws -> Void = { _ in }
  ) -> Refusal {
    Refusal(name, parts) { folder in
      try folder.copy(fixture(source), as: "model")
      try change(folder)
      guard let data else { return reward("model", fixture("rewards/rows.jsonl")) }
      let row: JSON = ["prompt": "", "completion": .string(data)]
      try folder.write("data.jsonl", row.text)
      return reward("model", "data.jsonl")
    }
  }

  static func reward(_ model: String, _ data: String) -> [String] {
    ["reward", "--model", model, "--data", data, "--out", "out.jsonl"]
  }

  /// Data that cannot be scored.
  static func data(_ name: String, _ parts: [String], _ bytes: [UInt8]) -> Refusal {
    Refusal(name, parts) { folder in
      try folder.copy(fixture("gqa-tied"), as: "model")
      try folder.write("data.jsonl", bytes: bytes)
      return score(data: "data.jsonl")
    }
  }

  /// A run file that is refused, made from one that is fine.
  static func runFile(
    _ name: String, code: Int32 = 2, _ parts: [String], settings: [String] = [],
    _ change: @escaping @Sendable (String) -> String = { $0 }
  ) -> Refusal {
    Refusal(name, code: code, parts) { folder in
      let text = """
        model: \(fixture("gqa-tied"))
        method: dpo
        data: {train: \(fixture("pairs.jsonl"))}
        batch: {pairs: 8, groups: 4}
        steps: 1
        output: out
        """
      try folder.write("run.yaml", change(text))
      return ["train", "--config", "run.yaml"] + settings.flatMap { ["--set", $0] }
    }
  }

  static func score(data: String) -> [String] {
    ["score", "--model", "model", "--data", data, "--out", "out.jsonl"]
  }

  /// The same bytes in every run.
  static func randomBytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(state >> 56)
    }
  }
}
