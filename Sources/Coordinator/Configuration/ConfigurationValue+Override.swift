extension ConfigurationValue {
  /// Sets one value from the command line, `key.path=value`, the value read as YAML.
  ///
  /// Missing mappings on the way are made. Whether the key is known shows when the tree is read.
  ///
  /// - Parameter override: the text after `--set`.
  /// - Throws: `ConfigurationError` if it has no `=`, no key or a value that is not YAML, or if the
  ///   path leads through something that is not a mapping.
  mutating func apply(override: String) throws(ConfigurationError) {
    let place = "--set \(override)"
    let parts = override.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      throw ConfigurationError(place, "write key.path=value; there is no \"=\"")
    }
    let keys = parts[0].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard keys.allSatisfy({ !$0.isEmpty }) else {
      throw ConfigurationError(place, "a key is missing before \"=\"; write key.path=value")
    }
    let value = try ConfigurationValue.parse(String(parts[1]), name: place, fixedPlace: place)
    let nothing = ConfigurationValue(content: .scalar("", isPlain: true), place: place)
    try set(keys[...], to: value ?? nothing, place: place)
  }

  private mutating func set(
    _ keys: ArraySlice<String>, to value: ConfigurationValue, place: String
  ) throws(ConfigurationError) {
    guard let key = keys.first else {
      self = value
      return
    }
    var entries: [Entry] = []
    if case .mapping(let existing) = content {
      entries = existing
    } else if !isNull {
      throw ConfigurationError(
        place, "\(key) cannot be set in \(found), which \(self.place) gives instead of a mapping")
    }
    if let index = entries.firstIndex(where: { $0.key == key }) {
      try entries[index].value.set(keys.dropFirst(), to: value, place: place)
    } else {
      var fresh = ConfigurationValue(content: .mapping([]), place: place)
      try fresh.set(keys.dropFirst(), to: value, place: place)
      entries.append(Entry(key: key, place: place, value: fresh))
    }
    self = ConfigurationValue(content: .mapping(entries), place: isNull ? place : self.place)
  }
}
