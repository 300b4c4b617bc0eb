extension RunConfiguration {
  /// The resolved run file: every key with its value, in the order of the contract.
  ///
  /// It reads back to an equal configuration.
  public var yaml: String { resolved.yaml() }

  /// All keys with their values.
  var resolved: ResolvedValue {
    var steps = ResolvedValue.none
    var epochs = ResolvedValue.none
    switch length {
    case .steps(let count): steps = .number(count)
    case .epochs(let count): epochs = .number(count)
    }
    return [
      "model": model.resolved, "method": .choice(method), "reference": .text(reference),
      "data": data.resolved, "objective": objective.resolved, "sail": sail.resolved,
      "oracle": oracle?.resolved ?? .none, "generation": generation.resolved,
      "batch": ["pairs": .number(batch.pairs), "groups": .number(batch.groups)],
      "optimizer": optimizer.resolved, "adapter": adapter?.resolved ?? .none,
      "precision": .choice(precision), "steps": steps, "epochs": epochs,
      "evaluate": [
        "every": .number(evaluate.every), "pairs": .number(evaluate.pairs),
        "generations": .number(evaluate.generations),
      ],
      "samples": ["every": .number(samples.every), "rows": samples.rows.resolved],
      "checkpoint": ["every": .number(checkpoint.every), "keep": .number(checkpoint.keep)],
      "reference_cache": referenceCache.resolved, "threads": threads.resolved,
      "memory": .text(memory.text), "seed": .number(seed), "output": .text(output),
    ]
  }
}

extension RunConfiguration.ModelSource {
  fileprivate var resolved: ResolvedValue {
    switch self {
    case .folder(let path, nil): .text(path)
    case .folder(let path, let base?): ["adapter": .text(path), "base": .text(base)]
    case .random(let config, let tokenizer, let seed):
      ["config": .text(config), "tokenizer": .text(tokenizer), "seed": .number(seed)]
    }
  }
}

extension RunConfiguration.DataSettings {
  fileprivate var resolved: ResolvedValue {
    [
      "train": .files(train), "eval": .files(eval), "eval_fraction": .number(evalFraction),
      "split_seed": .number(splitSeed), "shuffle": .truth(shuffle),
      "format": .text(format?.rawValue ?? "auto"),
      "template": .text(template.name), "max_length": .number(maxLength),
      "max_prompt_length": .number(maxPromptLength), "overlong": .choice(overlong),
      "cache": cache.resolved,
    ]
  }
}

extension ResolvedValue {
  /// Files of rows: a path where that is all there is to say.
  fileprivate static func files(_ files: [RunConfiguration.DataFile]) -> ResolvedValue {
    let values = files.map { file -> ResolvedValue in
      if file == RunConfiguration.DataFile(path: file.path) { return .text(file.path) }
      return [
        "path": .text(file.path), "weight": .number(file.weight),
        "limit": file.limit.map { .number($0) } ?? .none,
        "format": .text(file.format?.rawValue ?? "auto"),
      ]
    }
    if values.isEmpty { return .none }
    if values.count == 1, case .scalar = values[0] { return values[0] }
    return .list(values)
  }
}

extension RunConfiguration.Cache {
  fileprivate var resolved: ResolvedValue {
    switch self {
    case .auto: .text("auto")
    case .off: .text("off")
    case .folder(let path): .text(path)
    }
  }
}

extension RunConfiguration.ObjectiveSettings {
  fileprivate var resolved: ResolvedValue {
    [
      "loss": .choice(loss), "beta": .number(beta), "label_smoothing": .number(labelSmoothing),
      "link": .choice(link), "revkl": .number(revkl), "revkl_on": .choice(revklOn),
    ]
  }
}

extension RunConfiguration.SailSettings {
  fileprivate var resolved: ResolvedValue {
    [
      "ddp": [
        "fraction": .number(ddp.fraction),
        "preference_coefficient": .number(ddp.preferenceCoefficient),
        "labels": .choice(ddp.labels),
      ],
      "dpp": [
        "fraction": .number(dpp.fraction),
        "response_coefficient": .number(dpp.responseCoefficient),
        "preference_coefficient": .number(dpp.preferenceCoefficient),
        "labels": .choice(dpp.labels),
      ],
      "dpr": [
        "fraction": .number(dpr.fraction),
        "response_coefficient": .number(dpr.responseCoefficient),
        "labels": .choice(dpr.labels),
      ],
      "t1_estimator": .choice(t1Estimator), "released_scale": .number(releasedScale),
      "baseline": .choice(baseline), "importance_weights": .truth(importanceWeights),
      "term_norms_every": .number(termNormsEvery),
    ]
  }
}

extension RunConfiguration.GenerationSettings {
  fileprivate var resolved: ResolvedValue {
    [
      "temperature": .number(temperature), "top_p": .number(topP), "top_k": .number(topK),
      "max_new_tokens": .number(maxNewTokens), "missing_eos_penalty": .number(missingEosPenalty),
      "every": .number(every),
    ]
  }
}

extension RunConfiguration.OptimizerSettings {
  fileprivate var resolved: ResolvedValue {
    [
      "name": .choice(name), "learning_rate": .number(learningRate), "schedule": .choice(schedule),
      "warmup_steps": .number(warmupSteps), "weight_decay": .number(weightDecay),
      "clip": .number(clip), "betas": .list([.number(firstBeta), .number(secondBeta)]),
      "eps": .number(eps), "momentum": .number(momentum), "alpha": .number(alpha),
    ]
  }
}

extension RunConfiguration.AdapterSettings {
  fileprivate var resolved: ResolvedValue {
    let names: ResolvedValue =
      switch targets {
      case nil: .none
      case .all: .text("all")
      case .named(let names): .list(names.map { .text($0) })
      }
    return [
      "rank": rank.map { .number($0) } ?? .none, "alpha": alpha.map { .number($0) } ?? .none,
      "targets": names, "dropout": dropout.map { .number($0) } ?? .none,
      "rslora": rslora.map { .truth($0) } ?? .none,
    ]
  }
}

extension RunConfiguration.SampleRows {
  fileprivate var resolved: ResolvedValue {
    switch self {
    case .all: .text("all")
    case .count(let count): .number(count)
    }
  }
}

extension RunConfiguration.ReferenceCache {
  fileprivate var resolved: ResolvedValue {
    switch self {
    case .off: .text("off")
    case .folder(let path): .text(path)
    }
  }
}

extension RunConfiguration.ThreadCount {
  fileprivate var resolved: ResolvedValue {
    switch self {
    case .auto: .text("auto")
    case .count(let count): .number(count)
    }
  }
}
