/// Every key a run file can have, in the order of the contract.
enum ConfigurationKeys {
  /// The mappings by path ("" is the file itself) with their keys.
  static let sections: [(path: String, keys: [String])] = [
    (
      "",
      [
        "model", "method", "reference", "data", "objective", "sail", "oracle", "generation",
        "batch", "optimizer", "adapter", "precision", "steps", "epochs", "evaluate", "samples",
        "checkpoint", "reference_cache", "threads", "memory", "seed", "output",
      ]
    ),
    ("model", ["config", "tokenizer", "seed", "adapter", "base"]),
    (
      "data",
      [
        "train", "eval", "eval_fraction", "split_seed", "shuffle", "format", "template",
        "max_length", "max_prompt_length", "overlong", "cache",
      ]
    ),
    ("data.train", ["path", "weight", "limit", "format"]),
    ("data.eval", ["path", "weight", "limit", "format"]),
    ("objective", ["loss", "beta", "label_smoothing", "link", "revkl", "revkl_on"]),
    (
      "sail",
      [
        "ddp", "dpp", "dpr", "t1_estimator", "released_scale", "baseline", "importance_weights",
        "term_norms_every",
      ]
    ),
    ("sail.ddp", ["fraction", "preference_coefficient", "labels"]),
    ("sail.dpp", ["fraction", "response_coefficient", "preference_coefficient", "labels"]),
    ("sail.dpr", ["fraction", "response_coefficient", "labels"]),
    (
      "oracle",
      [
        "model", "command", "rule", "reference", "beta", "reverse", "end_token", "timeout",
        "restarts",
      ]
    ),
    (
      "generation",
      ["temperature", "top_p", "top_k", "max_new_tokens", "missing_eos_penalty", "every"]
    ),
    ("batch", ["pairs", "groups"]),
    (
      "optimizer",
      [
        "name", "learning_rate", "schedule", "warmup_steps", "weight_decay", "clip", "betas",
        "eps", "momentum", "alpha",
      ]
    ),
    ("adapter", ["rank", "alpha", "targets", "dropout", "rslora"]),
    ("evaluate", ["every", "pairs", "generations"]),
    ("samples", ["every", "rows"]),
    ("checkpoint", ["every", "keep"]),
  ]

  /// The keys of one mapping.
  static func keys(of path: String) -> [String] {
    sections.first { $0.path == path }?.keys ?? []
  }

  /// The known key that an unknown one most likely means, with its full path.
  ///
  /// A key of the same name in another mapping wins over a merely similar neighbour.
  static func nearest(to key: String, in path: String) -> String {
    func full(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
    let written = key.lowercased()
    if let elsewhere = sections.first(where: { $0.path != path && $0.keys.contains(written) }),
      !keys(of: path).contains(written)
    {
      return full(elsewhere.path, written)
    }
    var best = (key: "", distance: Int.max)
    for candidate in keys(of: path) {
      let distance = editDistance(written, candidate)
      if distance < best.distance { best = (candidate, distance) }
    }
    return full(path, best.key)
  }

  /// How many letters must be inserted, removed, replaced or swapped with their neighbour.
  static func editDistance(_ first: String, _ second: String) -> Int {
    let a = Array(first.unicodeScalars.prefix(64))
    let b = Array(second.unicodeScalars.prefix(64))
    var beforePrevious: [Int] = []
    var previous = Array(0...b.count)
    for i in a.indices {
      var current = [i + 1]
      for j in b.indices {
        var cost = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
          cost = min(cost, beforePrevious[j - 1] + 1)
        }
        current.append(cost)
      }
      (beforePrevious, previous) = (previous, current)
    }
    return previous[b.count]
  }
}
