import Foundation
import Yams

/// A value of a run file with the place it was written at, before its meaning is known.
struct ConfigurationValue {
  enum Content {
    /// A scalar as written; `isPlain` is false for a quoted or block scalar, which is only text.
    case scalar(String, isPlain: Bool)
    case list([ConfigurationValue])
    case mapping([Entry])
  }

  /// One key of a mapping with its value; keys are unique in a mapping.
  struct Entry {
    let key: String
    /// The place of the key.
    let place: String
    var value: ConfigurationValue
  }

  var content: Content
  /// `file:line:column` or `--set key=value`.
  let place: String

  /// Whether nothing is written: an empty value, `~` or `null`.
  var isNull: Bool {
    guard case .scalar(let text, isPlain: true) = content else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(text)
  }

  /// What is written, for the "found …" of an error.
  var found: String {
    switch content {
    case .scalar(let text, let isPlain):
      isNull ? "nothing" : isPlain ? text : "the text \"\(text)\""
    case .list: "a list"
    case .mapping: "a mapping"
    }
  }
}

extension ConfigurationValue {
  /// More values than any run file has: what lies beyond is a slip or an alias that multiplies.
  private static let largestCount = 10_000
  private static let greatestDepth = 16

  /// Reads one YAML document.
  ///
  /// - Parameters:
  ///   - yaml: the text.
  ///   - name: the file's name for error messages.
  ///   - fixedPlace: the place of every value where lines mean nothing, as in an override.
  /// - Returns: the root, or nil if the text holds no document.
  /// - Throws: `ConfigurationError` if the text is not YAML or has a duplicate key.
  static func parse(
    _ yaml: String, name: String, fixedPlace: String? = nil
  ) throws(ConfigurationError) -> ConfigurationValue? {
    let root: Node?
    do { root = try Yams.compose(yaml: yaml, .default, .default, .utf8) } catch {
      throw syntaxError(error, name: name, fixedPlace: fixedPlace)
    }
    guard let root else { return nil }
    var count = 0
    return try convert(root, count: &count, depth: 0) { mark in
      fixedPlace ?? mark.map { "\(name):\($0.line):\($0.column)" } ?? name
    }
  }

  private static func convert(
    _ node: Node, count: inout Int, depth: Int, place: (Mark?) -> String
  ) throws(ConfigurationError) -> ConfigurationValue {
    let here = place(node.mark)
    count += 1
    guard count <= largestCount, depth <= greatestDepth else {
      throw ConfigurationError(
        here, "too many values or too deep for a run file; does an alias repeat itself?")
    }
    switch node {
    case .scalar(let scalar):
      let isPlain = scalar.style == .plain || scalar.style == .any
      return ConfigurationValue(
        content: .scalar(scalar.string, isPlain: isPlain), place: here)
    case .sequence(let sequence):
      var elements: [ConfigurationValue] = []
      for element in sequence {
        elements.append(try convert(element, count: &count, depth: depth + 1, place: place))
      }
      return ConfigurationValue(content: .list(elements), place: here)
    case .mapping(let mapping):
      var entries: [Entry] = []
      for (key, value) in mapping {
        guard case .scalar(let scalar) = key else {
          throw ConfigurationError(place(key.mark), "a key must be a word, not a list or a mapping")
        }
        entries.append(
          Entry(
            key: scalar.string, place: place(key.mark),
            value: try convert(value, count: &count, depth: depth + 1, place: place)))
      }
      return ConfigurationValue(content: .mapping(entries), place: here)
    case .alias:
      throw ConfigurationError(here, "aliases are not understood here; write the value out")
    }
  }

  private static func syntaxError(
    _ error: any Error, name: String, fixedPlace: String?
  ) -> ConfigurationError {
    func place(_ line: Int, _ column: Int) -> String { fixedPlace ?? "\(name):\(line):\(column)" }
    switch error {
    case YamlError.scanner(let context, let problem, let mark, _),
      YamlError.parser(let context, let problem, let mark, _),
      YamlError.composer(let context, let problem, let mark, _):
      let activity = context.map { " \($0.text)" } ?? ""
      return ConfigurationError(
        place(mark.line, mark.column), "not valid YAML\(activity): \(problem)")
    case YamlError.duplicatedKeysInMapping(let duplicates, let context):
      return ConfigurationError(
        place(context.mark.line, context.mark.column),
        "the key \(duplicates.first ?? "") is written more than once")
    case YamlError.reader(let problem, let offset, _, let text):
      let lines = text.prefix(offset ?? 0).split(
        omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      let here = place(max(1, lines.count), (lines.last?.count ?? 0) + 1)
      return ConfigurationError(here, "not valid YAML: \(problem)")
    default:
      return ConfigurationError(fixedPlace ?? name, "not valid YAML: \(error)")
    }
  }
}
