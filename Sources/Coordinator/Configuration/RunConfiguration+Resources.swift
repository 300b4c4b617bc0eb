extension RunConfiguration {
  /// Where the reference's log-probabilities are kept between runs.
  public enum ReferenceCache: Sendable, Equatable {
    /// Nowhere.
    case off
    /// In this folder.
    case folder(String)
  }

  /// Threads of a rank.
  public enum ThreadCount: Sendable, Equatable {
    /// As many as the rank's affinity mask has CPUs.
    case auto
    /// So many.
    case count(Int)
  }

  /// Memory that a rank may use.
  public enum MemoryLimit: Sendable, Equatable {
    /// What the machine has.
    case auto
    /// So many bytes.
    case bytes(Int)
  }
}

extension RunConfiguration.ReferenceCache {
  init(reading root: ConfigurationSection) throws(ConfigurationError) {
    var text = "off"
    let expected = "off or a folder"
    try root.read("reference_cache", into: &text, expected)
    if ["on", "true", "yes", "auto"].contains(text.lowercased()),
      let value = try root.written("reference_cache", expected)
    {
      throw root.mismatch("reference_cache", value, expected)
    }
    self = text == "off" ? .off : .folder(text)
  }
}

extension RunConfiguration.ThreadCount {
  init(reading root: ConfigurationSection) throws(ConfigurationError) {
    self = .auto
    guard let value = try root.written("threads", "a whole number or auto") else { return }
    if case .scalar("auto", _) = value.content { return }
    self = .count(try root.whole("threads", value, atLeast: 1, or: " or auto"))
  }
}

extension RunConfiguration.MemoryLimit {
  init(reading root: ConfigurationSection) throws(ConfigurationError) {
    self = .auto
    let expected = "auto or a size with its unit, such as 6GB"
    guard let value = try root.written("memory", expected) else { return }
    guard case .scalar(let text, _) = value.content else {
      throw root.mismatch("memory", value, expected)
    }
    if text == "auto" { return }
    guard let bytes = byteCount(of: text) else { throw root.mismatch("memory", value, expected) }
    self = .bytes(bytes)
  }

  /// The size with the largest decimal unit that divides it.
  var text: String {
    switch self {
    case .auto: return "auto"
    case .bytes(let bytes):
      for unit in byteUnits.reversed() where !unit.suffix.contains("i") {
        if unit.bytes > 1, bytes % unit.bytes == 0 { return "\(bytes / unit.bytes)\(unit.suffix)" }
      }
      return "\(bytes)B"
    }
  }
}

/// Units by the end of the text, longest first; decimal as disks and DESIGN.md count, or binary.
private let byteUnits: [(suffix: String, bytes: Int)] = [
  ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("KB", 1000),
  ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("B", 1),
]

/// The bytes of a size with its unit, such as 5GB or 200 MiB; nil if it is none.
public func byteCount(of text: String) -> Int? {
  guard let unit = byteUnits.first(where: { text.hasSuffix($0.suffix) }),
    let amount = ConfigurationSection.number(
      text.dropLast(unit.suffix.count).filter { $0 != " " }),
    let bytes = Int(exactly: (amount * Double(unit.bytes)).rounded()), bytes > 0
  else { return nil }
  return bytes
}
