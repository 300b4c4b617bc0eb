/// One mapping of a run file, read key by key; a key that is absent leaves its default.
struct ConfigurationSection {
  /// The mapping's path such as `sail.ddp`; "" for the file itself.
  let path: String
  /// Where the mapping is written.
  let place: String
  private let entries: [ConfigurationValue.Entry]

  /// Opens a mapping; an empty value is an empty mapping.
  ///
  /// - Parameters:
  ///   - value: the mapping as written.
  ///   - path: the mapping's path, one of those in `ConfigurationKeys`.
  /// - Throws: `ConfigurationError` if it is no mapping or has an unknown key.
  init(_ value: ConfigurationValue, path: String) throws(ConfigurationError) {
    self.path = path
    place = value.place
    if case .mapping(let written) = value.content {
      entries = written
    } else if value.isNull {
      entries = []
    } else {
      let expected = ConfigurationKeys.keys(of: path).joined(separator: ", ")
      throw ConfigurationError(
        value.place,
        "\(path.isEmpty ? "a run file" : path) must be a mapping of \(expected), "
          + "found \(value.found)")
    }
    let known = ConfigurationKeys.keys(of: path)
    for entry in entries where !known.contains(entry.key) {
      throw ConfigurationError(
        entry.place,
        "unknown key \(fullPath(entry.key)); the nearest known key is "
          + ConfigurationKeys.nearest(to: entry.key, in: path))
    }
  }

  /// The full path of a key of this mapping.
  func fullPath(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  /// What is written under a key, nil if the key is absent or has nothing behind it.
  func value(_ key: String) -> ConfigurationValue? {
    guard let value = entries.first(where: { $0.key == key })?.value, !value.isNull else {
      return nil
    }
    return value
  }

  /// What is written under a key that has a default, nil if absent; nothing behind it is an error.
  func written(
    _ key: String, _ expected: String
  ) throws(ConfigurationError) -> ConfigurationValue? {
    guard let value = entries.first(where: { $0.key == key })?.value else { return nil }
    guard !value.isNull else {
      throw ConfigurationError(
        value.place,
        "\(fullPath(key)) must be \(expected), found nothing; give a value or leave out the key")
    }
    return value
  }

  /// The mapping under a key, empty if absent.
  func section(_ key: String) throws(ConfigurationError) -> ConfigurationSection {
    let nothing = ConfigurationValue(content: .mapping([]), place: place)
    return try ConfigurationSection(
      entries.first { $0.key == key }?.value ?? nothing, path: fullPath(key))
  }

  /// The error for a value that is not what it must be.
  func mismatch(
    _ key: String, _ value: ConfigurationValue, _ expected: String
  ) -> ConfigurationError {
    ConfigurationError(value.place, "\(fullPath(key)) must be \(expected), found \(value.found)")
  }

  /// The error for a required key that is not there.
  func missing(_ key: String, _ hint: String) -> ConfigurationError {
    ConfigurationError(place, "the key \(fullPath(key)) is missing; \(hint)")
  }
}
