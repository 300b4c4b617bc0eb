import Checkpoint
import Comm
import Foundation
import JSONText
import Tensor

// A checkpoint holds state.json, config.yaml, files of the model folder under assets/, one
// slice-NNNN.planes a rank with its slice of weights and moments, and rollouts.jsonl where completions
// wait for their step. Any rank count reads any other's.

extension TrainingRun {
  /// Saves the run's state as `checkpoints/step-N`, complete or absent; collective.
  func saveCheckpoint(communicator: borrowing Communicator) throws {
    let finalPath = folder.checkpoint(step: step)
    let partial = PendingFolder.partialPath(for: finalPath)
    let isHere = try communicator.broadcast(
      bytes: isLeader && isComplete(finalPath) ? [1] : [0], from: 0)
    if isHere == [1] { return }
    guard try areWeightsFinite(communicator: communicator) else {
      // Where steps are left out already, the next ones say why the run ends.
      if nonFiniteCount > 0, step < stepCount { return }
      throw TrainingError(
        description:
          "after step \(step) the weights are not finite; nothing was saved of them: lower "
          + "optimizer.learning_rate and go on from an earlier checkpoint of \(folder.checkpoints)")
    }
    var pending: PendingFolder?
    if isLeader {
      pending = try PendingFolder(finalPath: finalPath)
      try writeFileAtomically(
        Array((state.indentedText + "\n").utf8), path: partial + "/state.json")
      try writeFileAtomically(Array(configuration.yaml.utf8), path: partial + "/config.yaml")
      if configuration.generation.every > 1 {
        try writeFileAtomically(pendingRolloutBytes, path: partial + "/rollouts.jsonl")
      }
      try FileManager.default.createDirectory(
        atPath: partial + "/assets", withIntermediateDirectories: false)
      let adapter = memory.policy.adapter.map { model.adapterAsset($0.configuration) }
      for asset in model.assets + (adapter.map { [$0] } ?? []) {
        try writeFileAtomically(asset.bytes, path: "\(partial)/assets/\(asset.name)")
      }
    }
    try communicator.barrier()
    var hashed: [String] = []
    if !optimizer.slice.isEmpty {
      let name = sliceName(rank)
      let digest = try writePlaneFile(
        [("weights", FloatSource(trainedSlice))]
          + optimizer.arrays.map {
            let floats = UnsafeBufferPointer(
              start: UnsafePointer($0.buffer.base), count: $0.buffer.count)
            return ($0.name, FloatSource(floats))
          }, path: "\(partial)/\(name)")
      hashed = [name, String(digest.size), digest.digest]
    }
    let entries = try communicator.allGather(bytes: Array(hashed.joined(separator: "\n").utf8))
    if let pending {
      let written = entries.compactMap { bytes -> ManifestEntry? in
        let parts = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        guard parts.count == 3, let size = Int(parts[1]) else { return nil }
        return ManifestEntry(path: String(parts[0]), size: size, digest: String(parts[2]))
      }
      try pending.complete(hashed: written)
      try removeOldCheckpoints()
    }
    try communicator.barrier()
  }

  /// Whether all weights are numbers, looked at before they replace good ones.
  private func areWeightsFinite(communicator: borrowing Communicator) throws -> Bool {
    let own = worker.compute.squaredNorms(trainedSlice)
    return try communicator.allGather(own).joined().reduce(0, +).isFinite
  }

  private func sliceName(_ rank: Int) -> String {
    let digits = String(rank)
    return "slice-\(String(repeating: "0", count: max(0, 4 - digits.count)))\(digits).planes"
  }

  private var state: JSON {
    let parts: [JSON] = slices.enumerated().filter { !$0.element.isEmpty }.map {
      [
        "file": .string(sliceName($0.offset)), "start": .integer(Int64($0.element.lowerBound)),
        "count": .integer(Int64($0.element.count)),
      ]
    }
    return [
      "format": 1, "step": .integer(Int64(step)), "tokens": .integer(Int64(tokenCount)),
      "updates": .integer(Int64(optimizer.updateCount)),
      "previous_value": .number(previousValue),
      "non_finite_steps": .integer(Int64(nonFiniteCount)),
      "floats": .integer(Int64(memory.trained.count)),
      "number_type": .string(numberType.rawValue), "slices": .array(parts),
      "inputs": .object(inputDigests.map { JSON.Member(key: $0.file, value: .string($0.digest)) }),
      "arithmetic": .array(arithmetic.kinds.map(\.json)),
    ]
  }

  /// Keeps the newest `checkpoint.keep` checkpoints.
  private func removeOldCheckpoints() throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.checkpoints)) ?? []
    let steps = names.filter { $0.hasPrefix("step-") }.compactMap { Int($0.dropFirst(5)) }.sorted()
    for old in steps.dropLast(configuration.checkpoint.keep) {
      try removeFolder(folder.checkpoint(step: old))
    }
  }

  /// Goes on from a checkpoint: weights, moments, position; collective.
  ///
  /// - Returns: how the ranks computed that wrote it.
  func restore(from path: String, communicator: borrowing Communicator) throws -> [Arithmetic] {
    let saved = try communicator.agree {
      let saved = try SavedState(folder: path)
      guard saved.floatCount == memory.trained.count else {
        throw CheckpointError(
          "\(path): the checkpoint has \(saved.floatCount) weights, the model "
            + "\(memory.trained.count); it belongs to another model")
      }
      if isLeader { try saved.checkInputs(inputDigests) }
      try readWeights(of: saved)
      for array in optimizer.arrays {
        try saved.read(
          array.name, range: optimizer.slice,
          into: UnsafeMutableBufferPointer(start: array.buffer.base, count: array.buffer.count))
      }
      step = saved.step
      tokenCount = saved.tokenCount
      optimizer.updateCount = saved.updateCount
      previousValue = saved.previousValue
      nonFiniteCount = saved.nonFiniteCount
      if configuration.generation.every > 1 {
        try restorePendingRollouts(from: path + "/rollouts.jsonl")
      }
      return saved
    }
    try publishWeights()
    return saved.arithmetic
  }
}

extension TrainingRun {
  /// Reads this rank's slice of the weights, piece by piece.
  private func readWeights(of saved: SavedState) throws {
    let slice = optimizer.slice
    let size = min(slice.count, 1 << 24)
    let piece = FloatBuffer(count: size)
    for start in stride(from: 0, to: slice.count, by: max(1, size)) {
      let range = start..<min(slice.count, start + size)
      try saved.read(
        "weights",
        range: slice.lowerBound + range.lowerBound..<slice.lowerBound + range.upperBound,
        into: UnsafeMutableBufferPointer(start: piece.base, count: range.count))
      trainedSlice.write(piece.base, to: range)
    }
  }
}

extension FloatSource {
  /// Weights, read as floats.
  init(_ weights: MasterWeights) {
    self.init(count: weights.count) { range, target in
      if let base = target.baseAddress { weights.read(range, into: base) }
    }
  }
}

/// What a checkpoint says of itself, and its arrays.
struct SavedState {
  let folder: String
  let step: Int
  let tokenCount: Int
  let updateCount: Int
  let previousValue: Double
  let nonFiniteCount: Int
  let floatCount: Int
  let numberType: NumberType
  let slices: [(file: String, range: Range<Int>)]
  /// How the ranks computed that wrote it; empty if it does not say.
  let arithmetic: [Arithmetic]
  private let inputs: [JSON.Member]

  /// Reads `state.json` of a checkpoint folder that was verified.
  init(folder: String) throws {
    self.folder = folder
    let source = folder + "/state.json"
    let json = try parseJSON(try readFile(source, what: "checkpoint state"), source: source)
    func whole(_ key: String, in value: JSON) throws -> Int {
      guard let number = value[key]?.integer, number >= 0, number < 1 << 53 else {
        throw CheckpointError("\(source): \"\(key)\" must be a whole number from 0")
      }
      return number
    }
    guard try whole("format", in: json) == 1 else {
      throw CheckpointError("\(source): a format this version of Sail does not know")
    }
    step = try whole("step", in: json)
    tokenCount = try whole("tokens", in: json)
    updateCount = try whole("updates", in: json)
    nonFiniteCount = try whole("non_finite_steps", in: json)
    floatCount = try whole("floats", in: json)
    guard let value = json["previous_value"]?.number,
      let type = json["number_type"]?.string.flatMap(NumberType.init(rawValue:)),
      let parts = json["slices"]?.elements
    else {
      throw CheckpointError("\(source): previous_value, number_type or slices is missing")
    }
    previousValue = value
    numberType = type
    var slices: [(file: String, range: Range<Int>)] = []
    var end = 0
    for part in parts {
      let start = try whole("start", in: part)
      let count = try whole("count", in: part)
      guard let file = part["file"]?.string, !file.contains("/"), start == end,
        count <= floatCount - start
      else {
        throw CheckpointError("\(source): its slices do not cover the weights one after another")
      }
      slices.append((file, start..<start + count))
      end = start + count
    }
    guard Set(slices.map(\.file)).count == slices.count else {
      throw CheckpointError("\(source): two of its slices name the same file")
    }
    guard end == floatCount else {
      throw CheckpointError("\(source): its slices cover \(end) of \(floatCount) weights")
    }
    self.slices = slices
    inputs = json["inputs"]?.members ?? []
    arithmetic = (json["arithmetic"]?.elements ?? []).compactMap { Arithmetic($0) }
  }

  /// Refuses to go on with data or a starting model of other content than the run began with.
  func checkInputs(_ current: [(file: String, digest: String)]) throws(CheckpointError) {
    for input in inputs {
      let now = current.first { $0.file == input.key }?.digest
      guard now == nil || now == input.value.string else {
        throw CheckpointError(
          "\(input.key) has changed since the run in \(folder) began; restore the file, or "
            + "choose another output to start anew")
      }
    }
  }

  /// Reads a range of an array from the slices that hold it.
  func read(
    _ name: String, range: Range<Int>, into destination: UnsafeMutableBufferPointer<Float>
  ) throws {
    for slice in slices {
      let part = range.clamped(to: slice.range)
      guard !part.isEmpty, let base = destination.baseAddress else { continue }
      let file = try PlaneFile(path: "\(folder)/\(slice.file)")
      let local =
        part.lowerBound - slice.range.lowerBound..<part.upperBound - slice.range.lowerBound
      try file.read(
        name, range: local,
        into: UnsafeMutableBufferPointer(
          start: base + (part.lowerBound - range.lowerBound), count: part.count))
    }
  }
}
