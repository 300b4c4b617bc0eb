import Checkpoint
import Foundation
import JSONText
import Model

/// A PEFT adapter folder, all but its weights: `adapter_config.json`, `adapter_model.safetensors`.
///
/// Format: https://github.com/huggingface/peft, LoraConfig and save_pretrained.
struct AdapterFolder {
  /// The folder.
  let path: String
  /// Rank, scale, targets.
  let configuration: AdapterConfiguration
  /// Where each tensor lies.
  let table: AdapterTable

  /// Whether a folder holds an adapter.
  static func isAdapter(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: path + "/adapter_config.json")
  }

  /// The folder of the base model that an adapter names, nil if it names none.
  static func namedBase(of path: String) throws(DataError) -> String? {
    let source = path + "/adapter_config.json"
    let json = try parseJSON(try readFile(source, what: "adapter configuration"), source: source)
    return json["base_model_name_or_path"]?.string
  }

  /// Reads an adapter folder's configuration and the names of its tensors.
  ///
  /// - Parameters:
  ///   - path: the folder.
  ///   - decoder: the base model.
  /// - Throws: what is wrong with a file, or does not fit the base model.
  init(path: String, decoder: DecoderConfiguration) throws {
    self.path = path
    let source = path + "/adapter_config.json"
    let json = try parseJSON(try readFile(source, what: "adapter configuration"), source: source)
    // The tensors say which layers have an update, whatever way the configuration names them.
    let stored = try SafetensorsFolder(path: path, stem: "adapter_model")
    var targets: [String] = []
    for tensor in stored.tensors {
      guard let target = AdapterFolder.target(ofTensor: tensor.name) else {
        throw ModelError(
          "\(path): the adapter's tensor \"\(tensor.name)\" is not implemented; Sail supports "
            + "lora_A and lora_B of linear layers")
      }
      if targets.last != target { targets.append(target) }
    }
    configuration = try AdapterConfiguration(
      json: json, targets: AdapterFolder.shortened(targets, of: decoder), source: source)
    try AdapterFolder.checkLayers(json, targets: Set(targets), of: decoder, path: path)
    do throws(ModelError) {
      table = try AdapterTable(configuration, of: decoder, source: path)
    } catch {
      throw ModelError("\(error.description); the adapter belongs to another base model")
    }
    try checkTensors(stored)
  }

  /// `model.layers.0.self_attn.q_proj` of `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`.
  private static func target(ofTensor name: String) -> String? {
    let prefix = "base_model.model."
    for suffix in [".lora_A.weight", ".lora_B.weight"]
    where name.hasPrefix(prefix) && name.hasSuffix(suffix) {
      return String(name.dropFirst(prefix.count).dropLast(suffix.count))
    }
    return nil
  }

  /// Refuses an adapter that was made for a base model of fewer layers: a short target is one of every
  /// layer, unless the configuration names layers.
  private static func checkLayers(
    _ json: JSON, targets: Set<String>, of decoder: DecoderConfiguration, path: String
  ) throws(ModelError) {
    guard json["layers_to_transform"]?.isNull ?? true else { return }
    let short = (json["target_modules"]?.elements ?? []).compactMap(\.string)
      .filter { AdapterTable.targets(of: decoder).contains($0) }
    for target in short {
      let count = targets.filter { $0.hasSuffix(".\(target)") }.count
      guard count == decoder.layerCount else {
        throw ModelError(
          "\(path): the adapter has \(target) in \(count) layers, its base model has "
            + "\(decoder.layerCount); the adapter belongs to another base model")
      }
    }
  }

  /// Short names where every layer has them, as people write them; else the full ones.
  private static func shortened(_ names: [String], of decoder: DecoderConfiguration) -> [String] {
    let all = Set(names)
    let short = AdapterTable.targets(of: decoder).filter { short in
      names.contains { $0.hasSuffix(".\(short)") }
    }
    let isUniform = short.allSatisfy { short in
      all.filter { $0.hasSuffix(".\(short)") }.count == decoder.layerCount
    }
    let isWhole = all.allSatisfy { name in short.contains { name.hasSuffix(".\($0)") } }
    return isUniform && isWhole ? short : all.sorted()
  }

  /// Refuses tensors that are missing or of another base model's sizes.
  private func checkTensors(_ stored: SafetensorsFolder) throws(ModelError) {
    for parameter in table.parameters {
      guard let tensor = stored.tensor(named: parameter.name) else {
        throw ModelError("\(path): the adapter lacks the tensor \"\(parameter.name)\"")
      }
      guard tensor.shape == parameter.shape else {
        throw ModelError(
          "\(path): the adapter's tensor \"\(parameter.name)\" has the shape \(tensor.shape), its "
            + "base model and rank want \(parameter.shape); it belongs to another base model")
      }
    }
  }

  /// Reads the weights.
  func read(into weights: UnsafeMutableBufferPointer<Float>) throws(CheckpointError) {
    try SafetensorsFolder(path: path, stem: "adapter_model").read(
      table.placements, into: weights)
  }
}

extension AdapterTable {
  /// The table's tensors as a file's.
  var placements: [TensorPlacement] {
    parameters.map { TensorPlacement(name: $0.name, shape: $0.shape, offset: $0.offset) }
  }
}

extension AdapterConfiguration {
  /// Reads an `adapter_config.json` with its targets found out elsewhere.
  init(json: JSON, targets: [String], source: String) throws(ModelError) {
    func unsupported(_ key: String, _ found: String, _ supported: String) -> ModelError {
      ModelError("\(source): \(key) \(found) is not implemented; Sail supports \(supported)")
    }
    guard json.members != nil else {
      throw ModelError("\(source): expected a JSON object, found \(json.kind)")
    }
    guard json["peft_type"]?.string == "LORA" else {
      throw unsupported("peft_type", json["peft_type"]?.text ?? "missing", "\"LORA\"")
    }
    // Whatever else is set may change the computation.
    for member in json.members ?? [] where !AdapterConfiguration.harmlessKeys.contains(member.key) {
      let value = member.value
      guard !value.isNull, value.boolean != false, value.members?.isEmpty != true,
        value.elements?.isEmpty != true
      else { continue }
      throw unsupported(member.key, value.text, "plain low-rank updates of linear layers")
    }
    // These put a part of the base model's weights into the adapter.
    if let start = json["init_lora_weights"]?.string,
      !["gaussian", "eva", "orthogonal"].contains(start)
    {
      throw unsupported("init_lora_weights", "\"\(start)\"", "adapters on unchanged base weights")
    }
    if let bias = json["bias"]?.string, bias != "none" {
      throw unsupported("bias", "\"\(bias)\"", "\"none\"")
    }
    guard let rank = json["r"]?.integer, (1...65536).contains(rank) else {
      throw ModelError(
        "\(source): r must be a whole number from 1 to 65536, found \(json["r"]?.text ?? "none")")
    }
    guard let alpha = json["lora_alpha"]?.number, alpha.isFinite, alpha > 0 else {
      throw ModelError(
        "\(source): lora_alpha must be a positive number, found "
          + (json["lora_alpha"]?.text ?? "none"))
    }
    let dropout = json["lora_dropout"]?.number ?? 0
    guard dropout >= 0, dropout < 1 else {
      throw ModelError("\(source): lora_dropout must be from 0 to below 1, found \(dropout)")
    }
    self.init(
      rank: rank, alpha: alpha, isRankStabilized: json["use_rslora"]?.boolean ?? false,
      dropout: dropout, targets: targets)
  }

  /// Keys of PEFT that are read here, that the tensors' names answer, or that say how an adapter began.
  private static let harmlessKeys: Set<String> = [
    "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config",
    "exclude_modules", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "peft_type",
    "peft_version", "qalora_group_size", "r", "revision", "runtime_config", "target_modules",
    "task_type", "use_rslora",
  ]

  /// An `adapter_config.json` that PEFT reads.
  func json(base: String) -> JSON {
    let isWhole = alpha == alpha.rounded() && abs(alpha) < 0x1p53
    return [
      "alpha_pattern": .object([]), "auto_mapping": .null,
      "base_model_name_or_path": .string(base), "bias": "none", "fan_in_fan_out": false,
      "inference_mode": true, "init_lora_weights": true, "layers_to_transform": .null,
      "lora_alpha": isWhole ? .integer(Int64(alpha)) : .number(alpha),
      "lora_dropout": .number(dropout), "modules_to_save": .null, "peft_type": "LORA",
      "r": .integer(Int64(rank)), "rank_pattern": .object([]),
      "target_modules": .array(targets.map { .string($0) }), "task_type": "CAUSAL_LM",
      "use_dora": false, "use_rslora": .boolean(isRankStabilized),
    ]
  }

  /// The targets that an `adapter_config.json` of ours lists.
  static func listedTargets(_ json: JSON, source: String) throws(ModelError) -> [String] {
    guard let elements = json["target_modules"]?.elements else {
      throw ModelError("\(source): target_modules must be a list of names")
    }
    return elements.compactMap(\.string)
  }
}
