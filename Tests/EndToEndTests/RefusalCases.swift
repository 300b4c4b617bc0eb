import Foundation
import JSONText

let modelRefusals: [Refusal] = [
  .model("no tokenizer", ["model/tokenizer.json", "no such file"]) {
    try $0.remove("model/tokenizer.json")
  },
  .model("no shard", ["model-00002-of-00003.safetensors"], of: "mha-untied-sharded") {
    try $0.remove("model/model-00002-of-00003.safetensors")
  },
  .model("no weights", ["model.safetensors"]) { try $0.remove("model/model.safetensors") },
  .model("no configuration", ["model/config.json"]) { try $0.remove("model/config.json") },
  Refusal("no model", ["missing/config.json"]) { _ in
    ["score", "--model", "missing", "--data", fixture("pairs.jsonl"), "--out", "out.jsonl"]
  },
  .configuration("hidden_size", 64, ["another shape", "[384, 64]", "[384, 32]"]),
  .configuration("intermediate_size", 48, ["another shape", "mlp"]),
  .configuration("num_hidden_layers", 3, ["layer_types has 2 entries"]),
  .configuration(
    "num_hidden_layers", 3, and: ["layer_types": .null], ["model.layers.2", "missing"]),
  .configuration("num_attention_heads", 0, ["num_attention_heads", "found 0"]),
  .configuration("num_key_value_heads", 0, ["num_key_value_heads", "found 0"]),
  .configuration("num_key_value_heads", 3, ["num_key_value_heads (3)"]),
  .configuration("num_attention_heads", "four", ["num_attention_heads"]),
  .configuration("vocab_size", 300, ["tokenizer", "vocab_size of 300"]),
  .configuration("model_type", "mixtral", ["model_type \"mixtral\"", "\"qwen2\""]),
  .configuration("model_type", "llama", ["architectures", "\"LlamaForCausalLM\""]),
  .configuration(
    "model_type", "llama", and: ["architectures": ["LlamaForCausalLM"]],
    ["bias", "no place for"]),
  .configuration("num_local_experts", 8, ["num_local_experts 8", "dense"]),
  // Beyond the original length the frequencies depend on the whole sequence.
  .configuration(
    "rope_parameters", ["rope_type": "dynamic", "factor": 2, "rope_theta": 10000],
    and: ["max_position_embeddings": 20],
    ["pairs.jsonl:1", "beyond 20", "\"dynamic\"", "not implemented"]),
  .configuration("hidden_act", "gelu", ["hidden_act \"gelu\""]),
  .configuration("rms_norm_eps", 0, ["rms_norm_eps"]),
  // 2⁶⁰ bytes: refused before anything is reserved.
  .configuration(
    "num_hidden_layers", 4000, and: ["layer_types": .null], ["model.layers.2"]),
  .model("truncated weights", ["model/model.safetensors", "not a whole safetensors file"]) {
    try $0.write("model/model.safetensors", bytes: $0.bytes("model/model.safetensors").dropLast(9))
  },
  .model("truncated header", ["model/model.safetensors", "not a whole safetensors file"]) {
    try $0.write(
      "model/model.safetensors", bytes: Array($0.bytes("model/model.safetensors").prefix(700)))
  },
  .model("empty weights", ["model/model.safetensors"]) {
    try $0.write("model/model.safetensors", bytes: [])
  },
  .model("weights of another model", ["another shape"]) {
    try $0.remove("model/model.safetensors")
    try $0.copy(fixture("steps/sft_step.safetensors"), as: "model/model.safetensors")
  },
]

let adapterRefusals: [Refusal] = [
  .adapter("a base that is not there", ["models/nowhere", "--base"]) {
    $0.settings["base_model_name_or_path"] = "models/nowhere"
  },
  .adapter("no base", ["names no base model", "--base"]) {
    $0.settings["base_model_name_or_path"] = .null
  },
  .adapter("another base's sizes", ["has the shape", "belongs to another base model"]) {
    $0.settings["base_model_name_or_path"] = .string(fixture("families/llama-tied"))
  },
  .adapter("another family", ["belongs to another base model"]) {
    $0.settings["base_model_name_or_path"] = .string(fixture("families/phi3"))
  },
  .adapter("a base of more layers", ["in 2 layers", "belongs to another base model"]) {
    $0.layers = 3
  },
  .adapter("another rank", ["has the shape", "rank"]) { $0.settings["r"] = 8 },
  .adapter("weights decomposed", ["use_dora true"]) { $0.settings["use_dora"] = true },
  .adapter("trained modules beside it", ["modules_to_save", "lm_head"]) {
    $0.settings["modules_to_save"] = ["lm_head"]
  },
  .adapter("another method", ["peft_type \"IA3\""]) { $0.settings["peft_type"] = "IA3" },
  .adapter("a rank by layer", ["rank_pattern"]) { $0.settings["rank_pattern"] = ["q_proj": 2] },
  .adapter("changed base weights", ["init_lora_weights \"pissa\""]) {
    $0.settings["init_lora_weights"] = "pissa"
  },
  .adapter("a setting of the future", ["use_something_new"]) {
    $0.settings["use_something_new"] = true
  },
  .adapter("no alpha", ["lora_alpha"]) { $0.settings["lora_alpha"] = "much" },
  Refusal("no adapter weights", ["adapter_model.safetensors"]) { folder in
    try folder.copy(fixture("adapters/llama-all"), as: "model")
    try folder.remove("model/adapter_model.safetensors")
    return Refusal.score(data: fixture("pairs.jsonl")) + ["--base", fixture("families/llama")]
  },
  .runFile(
    "an unknown target", code: 3, ["\"proj\"", "q_proj, k_proj"],
    settings: ["adapter.targets=[proj]"]),
  .runFile("a rank beyond reason", ["adapter.rank", "65536"], settings: ["adapter.rank=100000"]),
  .runFile(
    "another rank than the folder's", ["adapter.rank is 8", "has 4", "leave it out"],
    settings: [
      "model={}", "model.adapter=\(fixture("adapters/llama-all"))",
      "model.base=\(fixture("families/llama"))",
      "adapter.rank=8",
    ]),
  Refusal("an export onto its source", ["is what is read"]) { folder in
    try folder.copy(fixture("gqa-tied"), as: "model")
    return ["export", "model", "--out", "./model"]
  },
  Refusal("nothing to merge", code: 2, ["no adapter to merge"]) { _ in
    ["export", fixture("gqa-tied"), "--merge", "--out", "exported"]
  },
]

let dataRefusals: [Refusal] = [
  .data(
    "broken JSON", ["data.jsonl:3"],
    Array(#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#.utf8) + Array("\n\n{\"prom".utf8)),
  .data("blank lines", ["data.jsonl", "no usable row"], Array("\n\n  \n\r\n".utf8)),
  .data("empty", ["data.jsonl", "no usable row"], []),
  .data("random bytes", ["data.jsonl:1"], Refusal.randomBytes(4096)),
  .data(
    "no rejected", ["data.jsonl:1", "rejected"], Array(#"{"prompt": "a", "chosen": "b"}"#.utf8)),
  .data(
    "a number for a text", ["data.jsonl:1", "\"prompt\"", "integer"],
    Array(#"{"prompt": 3, "chosen": "b", "rejected": "c"}"#.utf8)),
  .data("a list of rows", ["data.jsonl:1", "array"], Array(#"[{"prompt": "a"}]"#.utf8)),
  .data(
    "an empty prompt", ["data.jsonl"],
    Array(#"{"prompt": "", "chosen": "b", "rejected": "c"}"#.utf8)),
  Refusal("no data", ["missing.jsonl", "no such data file"]) { folder in
    try folder.copy(fixture("gqa-tied"), as: "model")
    return Refusal.score(data: "missing.jsonl")
  },
]

/// Data in forms and files that are not what they seem.
let dataSetRefusals: [Refusal] =
  [
    .data(
      "an unknown form", ["data.jsonl:1", "unknown form", "question, answer", "ultrafeedback"],
      Array(#"{"question": "a", "answer": "b"}"#.utf8)),
    .data(
      "a line of another form", ["data.jsonl:2", "\"chosen\" is missing"],
      Array(
        (#"{"prompt": "a", "chosen": "b", "rejected": "c"}"# + "\n"
          + #"{"prompt": "a", "response_0": "b", "response_1": "c", "better_response_id": 0}"#).utf8
      )),
    .data(
      "a label that is none", ["data.jsonl:1", "better_response_id", "0 or 1", "found 2"],
      Array(
        #"{"prompt": "a", "response_0": "b", "response_1": "c", "better_response_id": 2}"#.utf8)),
    Refusal("a role without a place", ["data.jsonl:1", "tool", "user"]) { folder in
      try folder.copy(fixture("gqa-tied"), as: "model")
      try folder.write(
        "data.jsonl",
        #"{"prompt": [{"role": "tool", "content": "x"}], "chosen": [{"role": "assistant", "content": "y"}], "rejected": [{"role": "assistant", "content": "z"}]}"#
      )
      return Refusal.score(data: "data.jsonl") + ["--template", "mistral"]
    },
    Refusal("no chat template", ["data.jsonl:1", "chat template", "chatml"]) { folder in
      try folder.copy(fixture("gqa-untied-f16"), as: "model")
      try folder.write("data.jsonl", #"{"prompt": [{"role": "user", "content": "x"}]}"#)
      return [
        "generate", "--model", "model", "--data", "data.jsonl", "--out", "out.jsonl",
      ]
    },
    .data(
      "ties alone", ["data.jsonl:1", "fewer than two completions"],
      Array(#"{"instruction": "a", "completions": []}"#.utf8)),
    .runFile(
      "weights in evaluation", code: 2, ["weight", "evaluation"],
      settings: ["data.eval={path: a.jsonl, weight: 2}"]),
    .runFile(
      "an unknown template", code: 2, ["data.template", "llama3"], settings: ["data.template=lama"]),
    .runFile(
      "an unknown format", code: 2, ["data.format", "preference"], settings: ["data.format=pairs"]),
    .runFile(
      "another form than the file's", code: 3, ["pairs.jsonl:1", "instruction"],
      settings: ["data.format=ultrafeedback"]),
    .runFile(
      "no place for the cache", code: 3, ["/proc/nowhere"], settings: ["data.cache=/proc/nowhere"]),
    .runFile(
      "no place for the reference cache", ["reference_cache", "/proc/nowhere"],
      settings: ["reference_cache=/proc/nowhere"]),
    .runFile(
      "a reference cache without a reference", ["reference_cache: off", "method sft"],
      settings: ["method=sft", "reference_cache=cache"]),
  ]
  + [("gzip", compressedRows.gzip), ("zstd", compressedRows.zstd)].map { kind, rows in
    // The name does not matter.
    .data(
      "\(kind) that ends early", ["data.jsonl", "\(kind) data ends early"], Array(rows.dropLast(9)))
  }

/// Four pairs as `gzip` and `zstd` wrote them.
let compressedRows = (
  gzip: [UInt8](
    Data(
      base64Encoded:
        "H4sIAAAAAAACA6tWKijKzy0oUbJSUCosTS0uyczPUzBQ0lFQSs7IL07NA4lXphZDhIpSs1KTS1JTQIJ5+Uq1XNXYdBti6jYk"
        + "XrcRpm4T4nUbY+q2xKobAL4aHof4AAAA") ?? Data()),
  zstd: [UInt8](
    Data(
      base64Encoded:
        "KLUv/ST4hQIAZAN7InByb21wdCI6ICJxdWVzdGlvbiAwIiwgImNob3Nlbnllc3JlamVjdGVkbm8ifQoxMTI0MzkKAOAT4F0A"
        + "MeBJAB14LAj/cNpocxw2mGQfhC8e") ?? Data())
)

/// Heads that a command cannot use, and rows that have no score.
let rewardRefusals: [Refusal] = [
  .reward("a causal folder", ["Qwen2ForCausalLM has no reward head"], of: "gqa-tied"),
  .reward("two labels", ["config.json", "num_labels", "must be 1", "found 2"]) {
    try $0.changeConfiguration(["id2label": ["0": "a", "1": "b"]])
  },
  .reward("a head of two rows", ["score.weight", "another shape", "[1, 16]", "[2, 16]"]) {
    try $0.replace(
      "model/model.safetensors", "\"score.weight\":{\"dtype\":\"F32\",\"shape\":[1,16]",
      "\"score.weight\":{\"dtype\":\"F16\",\"shape\":[2,16]")
  },
  .reward("a head that is missing", ["scOre.weight", "no place for"]) {
    try $0.replace("model/model.safetensors", "\"score.weight\"", "\"scOre.weight\"")
  },
  .reward("an unknown head", ["Qwen2ForTokenClassification", "not implemented"]) {
    try $0.changeConfiguration(["architectures": ["Qwen2ForTokenClassification"]])
  },
  .reward("a damaged model", ["not a finite number", "data.jsonl:1"], data: "a") {
    var bytes = try $0.bytes("model/model.safetensors")
    bytes.replaceSubrange(bytes.count - 64..<bytes.count, with: Array(repeating: 0xFF, count: 64))
    try $0.write("model/model.safetensors", bytes: bytes)
  },
  .reward("no text", ["data.jsonl:1", "have no token"], data: ""),
  Refusal("no completion", ["data.jsonl:2", "\"completion\" is missing"]) { folder in
    try folder.write(
      "data.jsonl",
      #"{"prompt": "a", "completion": "b"}"# + "\n" + #"{"prompt": "a", "chosen": "b"}"#)
    return Refusal.reward(fixture("rewards/qwen2"), "data.jsonl")
  },
  Refusal("a reward model that is scored", ["Qwen2ForSequenceClassification has a reward head"]) {
    _ in
    [
      "score", "--model", fixture("rewards/qwen2"), "--data", fixture("pairs.jsonl"), "--out",
      "out.jsonl",
    ]
  },
  Refusal("a reward model that generates", ["LlamaForScore", "sail generate wants"]) { _ in
    [
      "generate", "--model", fixture("rewards/beaver-reward"), "--data", fixture("pairs.jsonl"),
      "--out", "out.jsonl",
    ]
  },
  .runFile(
    "a reward model that is aligned", code: 3, ["EurusRewardModel", "method: dpo wants"],
    settings: ["model=\(fixture("rewards/eurus"))"]),
  .runFile(
    "a reward model as reference", code: 3,
    ["MistralForSequenceClassification", "reference wants"],
    settings: ["reference=\(fixture("rewards/mistral"))"]),
  .runFile(
    "an adapter of a reward model", ["adapter with method: reward", "not implemented"],
    settings: ["method=reward", "adapter.rank=4"]),
  .runFile(
    "a reward model with a reference",
    ["compared with nothing", "leave out the oracle's reference"],
    settings: [
      "oracle={model: \(fixture("rewards/qwen2")), reference: \(fixture("gqa-tied"))}"
    ]),
  .runFile(
    "a causal model reversed", ["no reward head", "reverse is a setting of reward models"],
    settings: ["oracle={model: \(fixture("gqa-tied")), reverse: true}"]),
  Refusal("a judge of a reward model", code: 2, ["generates nothing", "leave out --judge"]) { _ in
    [
      "evaluate", "--model", fixture("rewards/qwen2"), "--data", fixture("pairs.jsonl"), "--judge",
      "rule:shorter", "--out", "evaluation",
    ]
  },
]

let runFileRefusals: [Refusal] = [
  .runFile("unknown key", ["run.yaml:4", "bacth", "nearest known key is batch"]) {
    $0.replacingOccurrences(of: "batch:", with: "bacth:")
  },
  .runFile(
    "unknown key by --set", ["optimizer.learning_rat", "optimizer.learning_rate"],
    settings: ["optimizer.learning_rat=1"]),
  Refusal("no run file", code: 2, ["nowhere.yaml", "no such run file"]) { _ in
    ["train", "--config", "nowhere.yaml"]
  },
  .runFile("no data", code: 3, ["missing.jsonl"], settings: ["data.train=missing.jsonl"]),
  .runFile("no model", code: 3, ["missing/config.json"], settings: ["model=missing"]),
  .runFile("no method", ["method", "sft, reward, dpo, sail"]) {
    $0.replacingOccurrences(of: "method: dpo\n", with: "")
  },
  .runFile("a wrong choice", ["method"], settings: ["method=ppo"]),
  .runFile("no number", ["batch.pairs"], settings: ["batch.pairs=many"]),
  .runFile("no groups", ["batch.groups"], settings: ["batch.groups=0"]),
  .runFile("more groups than rows", ["batch.groups (9)"], settings: ["batch.groups=9"]),
  .runFile(
    "not in this version", ["adapter with method: reward", "not implemented"],
    settings: ["method=reward", "adapter.rank=4"]),
  .runFile(
    "DPR without an oracle", ["oracle"], settings: ["method=sail", "sail.dpr.fraction=0.5"]),
  .runFile(
    "too little memory", ["memory: 30KB is less than the", "kB", "adapter"],
    settings: ["memory=30KB"]),
  .runFile(
    "too little memory with an adapter", ["memory: 30KB is less than the", "or use more ranks"],
    settings: ["memory=30KB", "adapter={rank: 4}"]),
  .runFile(
    "a cache that is no folder", ["off or a folder", "true"], settings: ["reference_cache=true"]),
  .runFile("no such rule", ["nope", "synthetic"], settings: ["oracle={rule: nope}"]),
  .runFile("broken YAML", ["run.yaml"]) { $0 + "\nbatch: {pairs: [" },
  .runFile("empty", ["run.yaml", "empty"]) { _ in "" },
  .runFile(
    "an output that cannot be made", ["/proc/nowhere"],
    settings: [
      "output=/proc/nowhere"
    ]),
]

/// Random bytes as each kind of file, and folders that are something else.
let fileRefusals: [Refusal] =
  [
    "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
    "model.safetensors",
  ].map { name in
    .model("random bytes as \(name)", ["model/\(name)"]) {
      try $0.write("model/\(name)", bytes: Refusal.randomBytes(4096))
    }
  } + [
    Refusal("random bytes as a run file", code: 2, ["run.yaml"]) { folder in
      try folder.write("run.yaml", bytes: Refusal.randomBytes(4096))
      return ["train", "--config", "run.yaml"]
    },
    Refusal("random bytes as a manifest", ["MANIFEST"]) { folder in
      try FileManager.default.createDirectory(
        atPath: folder.file("step-00000001"), withIntermediateDirectories: true)
      try folder.write("step-00000001/MANIFEST", bytes: Refusal.randomBytes(4096))
      return ["inspect", "--verify", "step-00000001"]
    },
    Refusal("random bytes as a shard index", ["model.safetensors.index.json"]) { folder in
      try folder.copy(fixture("mha-untied-sharded"), as: "model")
      try folder.write("model/model.safetensors.index.json", bytes: Refusal.randomBytes(4096))
      return Refusal.score(data: fixture("pairs.jsonl"))
    },
    Refusal("random bytes as generations", ["generations.jsonl:1"]) { folder in
      try folder.write("generations.jsonl", bytes: Refusal.randomBytes(4096))
      return [
        "evaluate", "--model", fixture("gqa-tied"), "--data", fixture("pairs.jsonl"), "--judge",
        "rule:shorter", "--against", "other=generations.jsonl", "--out", "evaluation",
      ]
    },
    Refusal("no model to export", ["nowhere/config.json"]) { _ in
      ["export", "nowhere", "--out", "exported"]
    },
    Refusal("nothing to inspect", ["missing"]) { _ in ["inspect", "missing"] },
    Refusal("a folder as data", ["folder"]) { folder in
      try folder.copy(fixture("gqa-tied"), as: "model")
      return Refusal.score(data: "model")
    },
  ]
