import Foundation
import JSONText
import Model

/// The models of a run as their sizes: nothing of them is in memory.
struct PlannedModels {
  /// A model with weights of its own.
  struct Model {
    /// Its part, for the report.
    var name: String
    var configuration: DecoderConfiguration
    /// Floats of its weights, gaps included.
    var floatCount: Int
    /// Those of them that products read: matrices.
    var matrixCount: Int

    init(_ name: String, _ configuration: DecoderConfiguration) {
      self.name = name
      self.configuration = configuration
      let table = ParameterTable(configuration)
      (floatCount, matrixCount) = (table.floatCount, table.matrixCount)
    }
  }

  var policy: Model
  /// Floats of the adapter that is trained, nil where the weights are.
  var adapterFloats: Int?
  /// The frozen model that is compared with, nil for none.
  var reference: Model?
  /// Whether the reference reads the policy's weights, which then stay as they are.
  var referenceIsShared = false
  /// Whether the reference is another model than the policy begins as.
  var referenceIsOwn = false
  /// Models of the oracle with weights of their own.
  var oracles: [Model] = []
  /// Bytes of a number of the exported model.
  var exportBytes = 4

  /// Floats of what is trained.
  var trainedFloats: Int { adapterFloats ?? policy.floatCount }
}

extension PlannedModels {
  /// The models of a run file, from their `config.json` alone.
  ///
  /// - Throws: what is wrong with a configuration.
  init(_ configuration: RunConfiguration) throws {
    let source = try PlannedSource(configuration.model)
    var decoder = source.configuration
    if configuration.method == .reward {
      decoder.head = .score(.sequenceClassification(paddingToken: nil))
    }
    policy = Model("policy", decoder)
    exportBytes = source.numberBytes
    if let folder = source.adapterFolder {
      adapterFloats = try AdapterFolder(path: folder, decoder: decoder).table.floatCount
    } else if let settings = configuration.adapter {
      let targets: [String] =
        switch settings.targets {
        case .named(let names): names
        default: AdapterTable.targets(of: decoder)
        }
      let adapter = AdapterConfiguration(
        rank: settings.rank ?? 64, alpha: settings.alpha ?? 16, isRankStabilized: false,
        dropout: 0, targets: targets)
      adapterFloats = try AdapterTable(adapter, of: decoder, source: source.path).floatCount
    }
    if configuration.comparesWithReference {
      let own = try configuration.reference.map { try PlannedSource(.folder($0)).configuration }
      reference = Model("reference", own ?? decoder)
      referenceIsOwn = own != nil
      referenceIsShared = own == nil && adapterFloats != nil
    }
    if case .model(let oracle) = configuration.oracle, configuration.comparesWithReference {
      oracles = [Model("oracle", try PlannedSource(.folder(oracle.folder)).configuration)]
      if let path = oracle.reference {
        oracles.append(
          Model("oracle's reference", try PlannedSource(.folder(path)).configuration))
      }
    }
  }

  /// The models of a run that is about to begin.
  init(_ sources: RunSources) {
    policy = Model("policy", sources.model.configuration)
    adapterFloats = sources.adapter?.table.floatCount
    reference = sources.reference.map { Model("reference", $0.configuration) }
    if let own = sources.reference {
      referenceIsOwn = own.weightSource != sources.model.weightSource
      referenceIsShared = adapterFloats != nil && !referenceIsOwn
    }
    oracles = sources.oracleModels.map { Model($0.name, $0.folder.configuration) }
  }
}

/// The configuration of a model that a run file names.
private struct PlannedSource {
  let path: String
  let configuration: DecoderConfiguration
  let adapterFolder: String?
  /// Bytes of a number in the folder's files, as its configuration says.
  let numberBytes: Int

  init(_ source: RunConfiguration.ModelSource) throws {
    var adapter: String?
    var isRandom = false
    switch source {
    case .random(let config, _, _):
      path = config
      isRandom = true
    case .folder(let folder, let base):
      if AdapterFolder.isAdapter(folder) {
        adapter = folder
        guard let base = try base ?? AdapterFolder.namedBase(of: folder) else {
          throw ModelError("\(folder): the adapter names no base model; give its folder")
        }
        path = base + "/config.json"
      } else {
        path = folder + "/config.json"
      }
    }
    adapterFolder = adapter
    let json = try parseJSON(
      try readFile(path, what: "model configuration"), source: path)
    configuration = try DecoderConfiguration(json: json, source: path)
    let type = (json["torch_dtype"] ?? json["dtype"])?.string ?? "float32"
    numberBytes = isRandom || type == "float32" ? 4 : 2
  }
}
