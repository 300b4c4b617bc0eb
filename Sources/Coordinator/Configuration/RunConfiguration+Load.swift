import Foundation

extension RunConfiguration {
  /// Reads and checks a run file.
  ///
  /// Relative paths stay as they are written: they are relative to the working directory.
  ///
  /// - Parameters:
  ///   - path: the YAML file.
  ///   - overrides: `key.path=value` texts, applied in order, each value read as YAML.
  /// - Returns: the configuration, consistent in itself; `checkSupported()` is a step of its own.
  /// - Throws: `ConfigurationError` with the place of the first thing that is wrong.
  public static func load(
    path: String, overrides: [String] = []
  ) throws(ConfigurationError) -> RunConfiguration {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw ConfigurationError(path, "there is no such run file; check --config")
    }
    guard !isFolder.boolValue else {
      throw ConfigurationError(path, "this is a folder; --config wants a YAML file")
    }
    let bytes: Data
    do { bytes = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
      throw ConfigurationError(path, "the run file cannot be read: \(error.localizedDescription)")
    }
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let content = bytes.starts(with: mark) ? bytes.dropFirst(mark.count) : bytes
    guard let text = String(validating: content, as: UTF8.self) else {
      throw ConfigurationError(path, "the run file is not UTF-8 text; save it as UTF-8")
    }
    return try parse(text, name: path, overrides: overrides)
  }

  /// Reads and checks the text of a run file.
  ///
  /// - Parameters:
  ///   - yaml: the text.
  ///   - name: what error messages call the file.
  ///   - overrides: `key.path=value` texts, applied in order.
  /// - Returns: the configuration, consistent in itself.
  /// - Throws: `ConfigurationError` with the place of the first thing that is wrong.
  public static func parse(
    _ yaml: String, name: String, overrides: [String] = []
  ) throws(ConfigurationError) -> RunConfiguration {
    guard var root = try ConfigurationValue.parse(yaml, name: name), !root.isNull else {
      throw ConfigurationError(name, "the run file is empty; it needs model, method, data, output")
    }
    for override in overrides { try root.apply(override: override) }
    let configuration = try RunConfiguration(reading: try ConfigurationSection(root, path: ""))
    try configuration.checkConsistency { path in root.place(of: path) }
    return configuration
  }
}

extension ConfigurationValue {
  /// The place of the value under a dotted path, or of the nearest mapping around it.
  func place(of path: String) -> String {
    var current = self
    for key in path.split(separator: ".") {
      guard case .mapping(let entries) = current.content,
        let entry = entries.first(where: { $0.key == key })
      else { break }
      current = entry.value
    }
    return current.place
  }
}
