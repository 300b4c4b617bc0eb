import Checkpoint
import Foundation

extension RunSources {
  /// Digests of the training data and of the weights, configuration and tokenizer of model, reference
  /// and an oracle model; each file once.
  func inputDigests(of data: RunData) throws -> [(file: String, digest: String)] {
    var known: [(file: String, digest: String)] = []
    for (file, digest) in zip(configuration.data.train, data.digests)
    where !known.contains(where: { $0.file == file.path }) { known.append((file.path, digest)) }
    let models = [model] + (reference.map { [$0] } ?? []) + oracleModels.map(\.folder)
    for file in models.flatMap(files(of:))
    where !known.contains(where: { $0.file == file }) {
      known.append((file, try digest(ofFile: file)))
    }
    return known
  }

  /// The files that a model is read from: those of its folder and of an adapter's base, or the
  /// configuration and tokenizer of random weights.
  func files(of folder: ModelFolder) -> [String] {
    switch folder.weightSource {
    case .folder(let base):
      return Self.files(in: folder.path) + (base == folder.path ? [] : Self.files(in: base))
    case .random(let config, _):
      guard case .random(_, let tokenizer, _) = configuration.model else { return [config] }
      return [config]
        + (tokenizer.hasSuffix(".json") ? [tokenizer] : Self.files(in: tokenizer))
    }
  }

  /// The weights and JSON files of a folder, in order.
  private static func files(in folder: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.sorted()
      .filter { name in [".safetensors", ".json"].contains(where: name.hasSuffix) }
      .map { "\(folder)/\($0)" }
  }
}
