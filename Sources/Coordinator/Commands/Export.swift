import Checkpoint
import Foundation
import JSONText
import Model
import Tensor

/// What `sail export` is asked.
public struct ExportOptions: Sendable {
  /// A `step-…` folder of a run, a model folder or an adapter folder.
  public var source: String
  /// The folder to write; replaced if it exists and is a model folder.
  public var output: String
  /// Number type, nil for that of the run's starting folder.
  var type: NumberType?
  /// The most bytes of numbers in a file.
  public var shardBytes: Int
  /// Whether an adapter is added to its base model's weights.
  public var merges: Bool
  /// The folder of an adapter's base model, nil for the one that it names.
  public var base: String?
  /// Whether the folder is read again and compared.
  public var verifies: Bool

  /// Options from their parts; the number type by its name ("f32", "bf16", "f16").
  public init(
    source: String, output: String, type: String? = nil, shardBytes: Int = 5_000_000_000,
    merges: Bool = false, base: String? = nil, verifies: Bool = false
  ) {
    self.source = source
    self.output = output
    self.type = type.flatMap { NumberType(rawValue: $0.uppercased()) }
    self.shardBytes = shardBytes
    self.merges = merges
    self.base = base
    self.verifies = verifies
  }
}

/// Writes a checkpoint, model or adapter as a Hugging Face model folder or a PEFT adapter folder.
///
/// - Parameter options: from where, to where, in which form.
/// - Returns: lines for a person.
/// - Throws: what is wrong with the source or the output, or that they differ.
public func export(_ options: ExportOptions) throws -> String {
  var source = try ExportSource(options.source, base: options.base)
  if options.merges { try source.merge() }
  try checkReplaceable(options)
  let type = options.type ?? source.numberType
  try source.folder.write(to: options.output, type: type, shardBytes: options.shardBytes)
  guard options.verifies else { return "wrote \(options.output)" }
  let difference = try source.verify(output: options.output, type: type)
  return "wrote \(options.output)\n\(difference)"
}

/// Refuses to replace what is no model folder, or what is read.
private func checkReplaceable(_ options: ExportOptions) throws(DataError) {
  let output = options.output
  let manager = FileManager.default
  func place(_ path: String) -> String {
    URL(fileURLWithPath: path).resolvingSymlinksInPath().standardizedFileURL.path
  }
  guard ![options.source, options.base].compactMap({ $0 }).map(place).contains(place(output)) else {
    throw DataError(output, "is what is read; give --out another folder")
  }
  let isModel = ["config.json", "adapter_config.json"].contains {
    manager.fileExists(atPath: "\(output)/\($0)")
  }
  guard
    !manager.fileExists(atPath: output) || isModel
      || (try? manager.contentsOfDirectory(atPath: output).isEmpty) == true
  else {
    throw DataError(
      output, "exists and is not a model folder; give --out a new or an empty folder")
  }
}

/// A checkpoint, model or adapter with its numbers in memory.
private struct ExportSource {
  private let path: String
  private let base: String?
  /// Configuration and tokenizer.
  private let model: ModelFolder
  private(set) var numberType: NumberType
  /// The adapter, nil where all weights are here.
  private var adapter: (configuration: AdapterConfiguration, table: AdapterTable)?
  private var numbers: FloatBuffer

  init(_ path: String, base: String?) throws {
    self.path = path
    self.base = base
    guard FileManager.default.fileExists(atPath: path + "/state.json") else {
      model = try ModelFolder(path: path, base: base)
      if let adapter = model.adapter {
        self.adapter = (adapter.configuration, adapter.table)
        numberType = .f32
        numbers = FloatBuffer(count: adapter.table.floatCount)
        try adapter.read(into: UnsafeMutableBufferPointer(numbers))
      } else {
        let stored = try model.storedWeights(in: path)
        numberType = stored.numberType ?? .f32
        numbers = FloatBuffer(count: model.table.floatCount)
        try stored.read(model.placements, into: UnsafeMutableBufferPointer(numbers))
      }
      return
    }
    try verifyFolder(path)
    let saved = try SavedState(folder: path)
    let assets = path + "/assets"
    model = try ModelFolder(configuration: assets + "/config.json", tokenizer: assets)
    numberType = saved.numberType
    if AdapterFolder.isAdapter(assets) {
      let source = assets + "/adapter_config.json"
      let json = try parseJSON(try readFile(source, what: "adapter configuration"), source: source)
      let configuration = try AdapterConfiguration(
        json: json, targets: AdapterConfiguration.listedTargets(json, source: source),
        source: source)
      let table = try AdapterTable(configuration, of: model.configuration, source: source)
      adapter = (configuration, table)
    }
    let count = adapter?.table.floatCount ?? model.table.floatCount
    guard count == saved.floatCount else {
      throw CheckpointError(
        "\(path): its assets describe \(count) weights, its slices hold \(saved.floatCount)")
    }
    numbers = FloatBuffer(count: count)
    try saved.read("weights", range: 0..<count, into: UnsafeMutableBufferPointer(numbers))
  }

  /// The folder of an adapter's base model.
  private func baseFolder() throws -> ModelFolder {
    var named = base
    if named == nil, case .folder(let folder) = model.weightSource { named = folder }
    if named == nil { named = try AdapterFolder.namedBase(of: path + "/assets") }
    guard let named, FileManager.default.fileExists(atPath: named + "/config.json") else {
      throw ModelError(
        "\(path): the adapter's base model \(named ?? "") is not there; give its folder with --base"
      )
    }
    let folder = try ModelFolder(path: named)
    guard folder.configuration == model.configuration else {
      throw ModelError(
        "\(path): the adapter was trained on another base model than \(named): their "
          + "configurations differ")
    }
    return folder
  }

  /// The base model's weights, read anew.
  private func baseWeights() throws -> (FloatBuffer, NumberType) {
    let folder = try baseFolder()
    guard case .folder(let path) = folder.weightSource else {
      throw ModelError("\(folder.path): the base model has no weights")
    }
    let stored = try folder.storedWeights(in: path)
    let weights = FloatBuffer(count: folder.table.floatCount)
    try stored.read(folder.placements, into: UnsafeMutableBufferPointer(weights))
    return (weights, stored.numberType ?? .f32)
  }

  /// Adds the adapter to its base model's weights.
  mutating func merge() throws {
    guard let adapter else {
      throw ConfigurationError("\(path): there is no adapter to merge; leave --merge out")
    }
    let (weights, type) = try baseWeights()
    DecoderWeights(
      configuration: model.configuration, table: model.table, base: weights.base,
      adapter: AdapterWeights(
        configuration: adapter.configuration, table: adapter.table, base: numbers.base)
    ).mergeAdapter(compute: Compute(threadCount: 1))
    self.adapter = nil
    numbers = weights
    numberType = type
  }

  /// What is written.
  var folder: ExportedFolder {
    let weights = FloatSource(
      UnsafeBufferPointer(start: UnsafePointer(numbers.base), count: numbers.count))
    guard let adapter else {
      return ExportedFolder(
        placements: model.placements, weights: weights, assets: model.assets)
    }
    var folder = model.exportedAdapter(adapter.configuration, adapter.table, weights: weights)
    // A folder's or checkpoint's own configuration names the base.
    if case .random = model.weightSource,
      let bytes = try? readFile(path + "/assets/adapter_config.json", what: "adapter configuration")
    {
      folder.assets.removeAll { $0.name == "adapter_config.json" }
      folder.assets.append(("adapter_config.json", bytes))
    }
    return folder
  }

  /// Reads the folder that was written and compares log-probabilities of drawn sequences, of a reward model
  /// their scores; in the file's number type they must agree in every bit.
  ///
  /// - Returns: a sentence with what was compared, and the cost of the number type.
  func verify(output: String, type: NumberType) throws -> String {
    let compute = Compute(threadCount: 1)
    let sequences = verificationSequences
    let written = try ModelFolder(path: output, base: adapter == nil ? nil : baseFolder().path)
    let before: [Double]
    let expected: [Double]
    let found: [Double]
    let rounded = try numbers.rounded(to: type)
    if let adapter {
      guard let folder = written.adapter, folder.table.floatCount == numbers.count else {
        throw CheckpointError("\(output): the adapter that was written is not the one read again")
      }
      let (weights, _) = try baseWeights()
      let again = FloatBuffer(count: numbers.count)
      try folder.read(into: UnsafeMutableBufferPointer(again))
      func logs(_ buffer: FloatBuffer) -> [Double] {
        let weights = DecoderWeights(
          configuration: model.configuration, table: model.table, base: weights.base,
          adapter: AdapterWeights(
            configuration: adapter.configuration, table: adapter.table, base: buffer.base))
        return logProbabilities(weights, sequences, compute)
      }
      (before, expected, found) = (logs(numbers), logs(rounded), logs(again))
    } else {
      let again = FloatBuffer(count: written.table.floatCount)
      try written.storedWeights(in: output).read(
        written.placements, into: UnsafeMutableBufferPointer(again))
      func logs(_ folder: ModelFolder, _ buffer: FloatBuffer) -> [Double] {
        logProbabilities(
          DecoderWeights(
            configuration: folder.configuration, table: folder.table, base: buffer.base),
          sequences, compute)
      }
      (before, expected, found) = (logs(model, numbers), logs(model, rounded), logs(written, again))
    }
    guard expected == found, found.allSatisfy(\.isFinite) else {
      throw CheckpointError(
        "\(output): its \(verifiedFigures) are not those of \(path) in \(type.rawValue); the folder "
          + "cannot be trusted, write it again")
    }
    let cost = zip(before, found).map { abs($0 - $1) / max(abs($0), 1e-30) }.max() ?? 0
    let rounding =
      cost == 0 ? "none" : "up to \((cost * 1e6).rounded() / 1e4) % by rounding to \(type.rawValue)"
    return
      "verified: \(verifiedFigures) of \(sequences.count) drawn sequences are equal in every bit; "
      + "change from \(path): \(rounding)"
  }

  private var verifiedFigures: String {
    model.configuration.scoreHead == nil ? "log-probabilities" : "scores"
  }

  /// Token ids drawn over the vocabulary: eight sequences of 24.
  private var verificationSequences: [PromptFamily] {
    let random = KeyedRandom(seed: 1, purpose: .gradientCheck)
    let size = UInt64(model.configuration.vocabularySize)
    return (0..<8).map { row in
      let tokens = (0..<24).map {
        Int32(random.bits(step: 0, row: row, position: $0).multipliedFullWidth(by: size).high)
      }
      return PromptFamily(prompt: Array(tokens[..<8]), completions: [Array(tokens[8...])])
    }
  }

  private func logProbabilities(
    _ weights: DecoderWeights, _ families: [PromptFamily], _ compute: Compute
  ) -> [Double] {
    let decoder = Decoder(weights: weights, compute: compute)
    if let head = weights.configuration.scoreHead {
      return decoder.scores(PackedBatch(families, scoredBy: head), keepsActivations: false)
    }
    return decoder.forward(PackedBatch(families), keepsActivations: false).map(\.logProbability)
  }
}

extension UnsafeMutableBufferPointer<Float> {
  /// All floats of a buffer.
  fileprivate init(_ buffer: FloatBuffer) {
    self.init(start: buffer.base, count: buffer.count)
  }
}

extension FloatBuffer {
  /// A copy with each number as a file of the type keeps it.
  fileprivate func rounded(to type: NumberType) throws -> FloatBuffer {
    let copy = FloatBuffer(count: count)
    let block = 1 << 20
    for first in stride(from: 0, to: count, by: block) {
      let part = UnsafeBufferPointer(
        start: UnsafePointer(base + first), count: min(block, count - first))
      guard let rounded = type.rounded(part) else {
        throw CheckpointError("a finite number is too large for \(type.rawValue); write F32")
      }
      (copy.base + first).update(from: rounded, count: rounded.count)
    }
    return copy
  }
}
