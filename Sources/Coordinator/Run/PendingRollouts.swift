import JSONText
import Model

// Completions that wait for their step (generation.every > 1), as lines of a checkpoint's
// rollouts.jsonl: a resumed run trains on the same ones.

extension Rollout {
  /// The rollout as a line.
  var json: JSON {
    func list<Value>(_ values: [Value], _ make: (Value) -> JSON) -> JSON {
      .array(values.map(make))
    }
    return [
      "step": .integer(Int64(step)), "row": .integer(Int64(row)),
      "token_ids": list(completions) { list($0.tokens) { .integer(Int64($0)) } },
      "logps": list(completions) { .number($0.logProbability) },
      "generation_logps": list(completions) { .number($0.drawLogProbability) },
      "ended": list(completions) { .boolean($0.isEnded) },
      "scores": scores.map { list($0) { .number($0) } } ?? .null,
      "failure": failure.map { .string($0) } ?? .null,
    ]
  }

  /// The rollout of a line; throws `DataError` if it is none for such a vocabulary.
  init(_ json: JSON, place: String, vocabularySize: Int) throws(DataError) {
    func broken() -> DataError {
      DataError(place, "not a rollout of this model; the checkpoint belongs to another run")
    }
    guard let step = json["step"]?.integer, let row = json["row"]?.integer, step >= 0, row >= 0,
      let tokens = json["token_ids"]?.elements, !tokens.isEmpty,
      let logs = json["logps"]?.elements, let draws = json["generation_logps"]?.elements,
      let ended = json["ended"]?.elements,
      Set([tokens.count, logs.count, draws.count, ended.count]).count == 1
    else { throw broken() }
    self.step = step
    self.row = row
    completions = []
    for index in tokens.indices {
      let written = tokens[index].elements ?? []
      let ids = written.compactMap(\.integer)
      guard !ids.isEmpty, ids.count == written.count,
        ids.allSatisfy({ $0 >= 0 && $0 < vocabularySize }),
        let log = logs[index].numberOrUndefined, let draw = draws[index].numberOrUndefined,
        let isEnded = ended[index].boolean
      else { throw broken() }
      completions.append(
        Completion(
          tokens: ids.map { Int32($0) }, logProbability: log, drawLogProbability: draw,
          isEnded: isEnded))
    }
    let written = json["scores"]
    scores = written?.elements?.compactMap(\.number)
    guard
      written?.isNull != false
        || scores?.count == completions.count && written?.elements?.count == completions.count
    else { throw broken() }
    failure = json["failure"]?.string
    guard json["failure"]?.isNull != false || failure != nil else { throw broken() }
  }
}

extension JSON {
  /// A number; JSON writes one that is not finite as null.
  fileprivate var numberOrUndefined: Double? { isNull ? .nan : number }
}

extension TrainingRun {
  /// The pending completions as the bytes of a file, in the order of steps and rows.
  var pendingRolloutBytes: [UInt8] {
    let lines = pendingRollouts.keys.sorted().flatMap { pendingRollouts[$0] ?? [] }
    return Array(lines.map { $0.json.text + "\n" }.joined().utf8)
  }

  /// Reads what ``pendingRolloutBytes`` wrote, for a run that goes on with `step`.
  ///
  /// - Parameter path: `rollouts.jsonl` of a checkpoint.
  /// - Throws: `DataError` if a line is no rollout of this run.
  func restorePendingRollouts(from path: String) throws {
    pendingRollouts = [:]
    let every = configuration.generation.every
    // The steps of the window that the run stands in; a step without such rows has none.
    if step % every != 0 {
      for pending in step..<(step / every + 1) * every { pendingRollouts[pending] = [] }
    }
    let bytes = try readFile(path, what: "list of pending completions")
    let lines = DataLines(bytes, name: path)
    while !bytes.isEmpty, let line = try lines.next() {
      let rollout = try Rollout(
        line.object, place: line.place, vocabularySize: model.configuration.vocabularySize)
      guard pendingRollouts[rollout.step] != nil, rollout.row < configuration.batch.pairs else {
        throw DataError(line.place, "a completion of step \(rollout.step), which is not pending")
      }
      pendingRollouts[rollout.step]?.append(rollout)
    }
    for (step, rollouts) in pendingRollouts.sorted(by: { $0.key < $1.key }) {
      try check(rollouts, of: try plannedRows(step: step), path: path)
    }
  }

  /// Refuses pending completions that are not those that a step's rows wait for.
  private func check(
    _ rollouts: [Rollout], of rows: StepRows, path: String
  ) throws(DataError) {
    let waiting = rows.rows.filter(needsRollout)
    let longest = configuration.generation.maxNewTokens
    let isWhole =
      rollouts.map(\.row) == waiting.map(\.index)
      && zip(rollouts, waiting).allSatisfy { rollout, row in
        rollout.completions.count == (row.route.isOnline ? 2 : 1)
          && rollout.completions.allSatisfy { $0.tokens.count <= longest }
          && (rollout.scores != nil || rollout.failure != nil) == (row.route == .dpr)
      }
    guard isWhole else {
      throw DataError(
        path, "holds other completions than the run's rows wait for; the checkpoint is damaged")
    }
  }
}
