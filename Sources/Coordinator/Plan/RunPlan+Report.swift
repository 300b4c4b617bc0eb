import Foundation
import JSONText

extension RunPlan {
  /// For a person.
  ///
  /// - Parameter notes: what the plan rests on, such as where its ceilings are from.
  /// - Returns: lines.
  func text(notes: [String]) -> String {
    let decoder = models.policy.configuration
    let parameters = models.policy.floatCount
    let trained =
      models.adapterFloats.map { "an adapter of \(millions($0)) parameters" } ?? "all weights"
    var lines = [
      "\(configuration.method.rawValue) of \(trained), \(configuration.precision.rawValue): a "
        + "\(decoder.family.modelType) decoder of \(millions(parameters)) parameters",
      "\(counted(cluster.rankCount, "rank")) on \(counted(cluster.nodeCount, "node")), "
        + "\(counted(cluster.threads, "thread")) each; \(configuration.batch.pairs) rows a step in "
        + "\(counted(configuration.batch.groups, "group"))",
      String(
        format: "prompts of %.0f and responses of %.0f tokens, at most %.0f a row, ",
        lengths.prompt, lengths.response, lengths.longest) + lengths.source,
    ]
    lines += notes
    lines += [""] + memoryLines + [""] + diskLines + [""] + stepLines
    return lines.joined(separator: "\n")
  }

  private var memoryLines: [String] {
    var lines = [row("memory", ["a rank", "a node"], "")]
    for item in memory.items {
      let mark = item.isExact ? "" : ", about"
      lines.append(
        row(
          item.name, [gigabytes(item.bytes), gigabytes(memory.bytes(of: item))],
          item.holder.rawValue + mark))
    }
    lines.append(
      row("together", [gigabytes(memory.rankBytes), gigabytes(memory.nodeBytes)], ""))
    if memory.sharedBytes > 0 {
      lines.append(row("of it in /dev/shm", ["", gigabytes(memory.sharedBytes)], ""))
    }
    if fits {
      lines.append("  fits a node of \(gigabytes(cluster.memoryBytes))")
    } else {
      lines.append(
        "  does not fit a node of \(gigabytes(cluster.memoryBytes)): "
          + remedies(alternatives, memoryBytes: cluster.memoryBytes))
    }
    return lines
  }

  var alternatives: [MemoryPlan.Alternative] {
    MemoryPlan.alternatives(
      configuration, models: models, lengths: lengths, rankCount: cluster.rankCount,
      ranksOnNode: cluster.ranksOnNode, nodeMemory: cluster.memoryBytes)
  }

  private var diskLines: [String] {
    [
      row("disk", ["", ""], ""),
      row("a checkpoint", ["", gigabytes(checkpointBytes)], "compressed"),
      row(
        "\(configuration.checkpoint.keep) that are kept and one more",
        ["", gigabytes(checkpointsBytes)], ""),
      row("the result", ["", gigabytes(exportBytes)], ""),
    ]
  }

  private var stepLines: [String] {
    var lines = [row("a step", ["TFLOP", "GB moved", "seconds"], "")]
    func cells(_ operations: Double, _ bytes: Double, _ seconds: Double) -> [String] {
      [
        operations > 0 ? digits(operations / 1e12) : "", bytes > 0 ? digits(bytes / 1e9) : "",
        digits(seconds),
      ]
    }
    for phase in step.phases {
      lines.append(row(phase.name, cells(phase.operations, phase.bytes, phase.seconds), ""))
    }
    lines.append(
      row(
        "together",
        cells(step.operations, step.phases.reduce(0) { $0 + $1.bytes }, step.seconds), ""))
    return lines + step.remarks.map { "  " + $0 }
  }

  private func row(_ name: String, _ cells: [String], _ remark: String) -> String {
    let line =
      "  " + name.padding(toLength: max(38, name.count), withPad: " ", startingAt: 0)
      + cells.map { String(repeating: " ", count: max(0, 11 - $0.count)) + $0 }.joined()
      + (remark.isEmpty ? "" : "  " + remark)
    return String(line.reversed().drop { $0 == " " }.reversed())
  }

  /// For a program; bytes and seconds.
  ///
  /// - Parameter notes: what the plan rests on.
  /// - Returns: an object.
  func json(notes: [String]) -> JSON {
    [
      "parameters": .integer(Int64(models.policy.floatCount)),
      "trained_parameters": .integer(Int64(models.trainedFloats)),
      "ranks": .integer(Int64(cluster.rankCount)), "nodes": .integer(Int64(cluster.nodeCount)),
      "threads": .integer(Int64(cluster.threads)),
      "lengths": [
        "prompt": .number(lengths.prompt), "response": .number(lengths.response),
        "longest": .number(lengths.longest), "source": .string(lengths.source),
      ],
      "memory": .array(
        memory.items.map { item in
          [
            "name": .string(item.name), "rank_bytes": .number(item.bytes),
            "node_bytes": .number(memory.bytes(of: item)), "held": .string(item.holder.rawValue),
            "exact": .boolean(item.isExact),
          ]
        }),
      "rank_bytes": .number(memory.rankBytes), "node_bytes": .number(memory.nodeBytes),
      "shared_bytes": .number(memory.sharedBytes), "node_memory": .number(cluster.memoryBytes),
      "fits": .boolean(fits),
      "alternatives": .array(
        alternatives.map {
          ["change": .string($0.change), "node_bytes": .number($0.nodeBytes)]
        }),
      "checkpoint_bytes": .number(checkpointBytes),
      "checkpoints_bytes": .number(checkpointsBytes), "export_bytes": .number(exportBytes),
      "phases": .array(
        step.phases.map {
          [
            "name": .string($0.name), "operations": .number($0.operations),
            "bytes": .number($0.bytes), "seconds": .number($0.seconds),
          ]
        }),
      "step_seconds": .number(step.seconds),
      "notes": .array((notes + step.remarks).map { .string($0) }),
    ]
  }
}

private func millions(_ count: Int) -> String {
  String(format: count < 10_000_000 ? "%.2f M" : "%.0f M", Double(count) / 1e6)
}

/// A number in three digits or more.
private func digits(_ value: Double) -> String {
  String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value)
}
