import Foundation
import JSONText
import Testing

@testable import Tokenizer

/// The files under Tests/Fixtures/tokenizers.
enum Fixtures {
  /// A folder of files to read instead, which make_kind_fixtures.py wrote with another seed.
  private static let other = ProcessInfo.processInfo.environment["SAIL_TOKENIZER_FIXTURES"]

  static func bytes(_ name: String) throws -> [UInt8] {
    let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let folder = other.map { URL(filePath: $0) } ?? tests.appending(path: "Fixtures/tokenizers")
    return Array(try Data(contentsOf: folder.appending(path: name)))
  }

  static func json(_ name: String) throws -> JSON { try JSON(parsing: try bytes(name)) }

  static func tokenizer(_ name: String) throws -> BPETokenizer {
    try BPETokenizer(tokenizerJSON: json(name), source: name)
  }

  /// One tokenizer with its texts and ids.
  struct CaseSet {
    let name: String
    let tokenizer: BPETokenizer
    let cases: [JSON]
    let decodings: [JSON]
  }

  /// All tokenizers of a file such as cases.json, variants included.
  static func caseSets(_ name: String = "cases.json") throws -> [CaseSet] {
    try #require(json(name)["sets"]?.elements).map { set in
      let file = try #require(set["file"]?.string)
      var value = try json(file)
      if let change = set["change"] {
        for member in try #require(change["file"]?.members) {
          value = value.replacing(member.key, by: member.value)
        }
        var model = try #require(value["model"])
        for member in try #require(change["model"]?.members) {
          model = model.replacing(member.key, by: member.value)
        }
        value = value.replacing("model", by: model)
      }
      let name = set["name"]?.string ?? file
      return CaseSet(
        name: name, tokenizer: try BPETokenizer(tokenizerJSON: value, source: name),
        cases: try #require(set["cases"]?.elements),
        decodings: try #require(set["decodings"]?.elements))
    }
  }
}

extension JSON {
  /// An object with one member replaced or, by nil, removed; new ones come last.
  func replacing(_ key: String, by value: JSON?) -> JSON {
    var members = (self.members ?? []).filter { !$0.key.utf8.elementsEqual(key.utf8) }
    if let value { members.append(Member(key: key, value: value)) }
    return .object(members)
  }

  /// A value replaced somewhere inside; array indices are written as numbers.
  func replacing(path: [String], by value: JSON?) -> JSON {
    guard let key = path.first else { return value ?? .null }
    let rest = Array(path.dropFirst())
    if let index = Int(key), var elements = self.elements {
      elements[index] = elements[index].replacing(path: rest, by: value)
      return .array(elements)
    }
    if rest.isEmpty { return replacing(key, by: value) }
    return replacing(key, by: (self[key] ?? .object([])).replacing(path: rest, by: value))
  }

  /// The integers of an array.
  var ids: [Int32] { (elements ?? []).compactMap { $0.integer.map(Int32.init) } }
}
