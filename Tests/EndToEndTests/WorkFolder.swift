import Foundation
import JSONText

/// A folder of one test.
struct WorkFolder {
  let path: String

  /// The path of a file in it.
  func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file and answers its path.
  @discardableResult
  func write(_ name: String, _ text: String) throws -> String {
    try write(name, bytes: Array(text.utf8))
  }

  /// Writes a file and answers its path.
  @discardableResult
  func write(_ name: String, bytes: [UInt8]) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }

  /// Copies a file or folder into it and answers the copy's path.
  @discardableResult
  func copy(_ source: String, as name: String) throws -> String {
    try FileManager.default.copyItem(atPath: source, toPath: file(name))
    return file(name)
  }

  /// Changes values of `model/config.json`.
  func changeConfiguration(_ values: [String: JSON]) throws {
    let members = try fileJSON(file("model/config.json")).members ?? []
    let changed =
      members.filter { values[$0.key] == nil }
      + values.map { JSON.Member(key: $0.key, value: $0.value) }
    try write("model/config.json", JSON.object(changed).text)
  }

  /// Replaces bytes of a file that stand there once by as many others.
  func replace(_ name: String, _ old: String, _ new: String) throws {
    let (old, new) = (Array(old.utf8), Array(new.utf8))
    var bytes = try bytes(name)
    guard old.count == new.count,
      let start = bytes.indices.first(where: { bytes[$0...].starts(with: old) })
    else { throw JobError(description: "\(file(name)) lacks the bytes to replace") }
    bytes.replaceSubrange(start..<start + old.count, with: new)
    try write(name, bytes: bytes)
  }

  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: file(name)) }

  func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: file(name)) }

  /// The names in a folder, in order.
  func names(_ name: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: file(name)).sorted()
  }

  func bytes(_ name: String) throws -> [UInt8] { try fileBytes(file(name)) }

  func lines(_ name: String) throws -> [JSON] { try fileLines(file(name)) }
}

/// Runs a test's body with a folder of its own, which is gone afterwards.
func withWorkFolder(_ body: (WorkFolder) throws -> Void) throws {
  let url = FileManager.default.temporaryDirectory
    .appendingPathComponent("sail-end-to-end-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: url) }
  try body(WorkFolder(path: url.path))
}

/// The path of a file of Tests/Fixtures/models.
func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/models/\(name)").path
}

func fileBytes(_ path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

func fileLines(_ path: String) throws -> [JSON] {
  try fileBytes(path).split(separator: UInt8(ascii: "\n")).map { try JSON(parsing: Array($0)) }
}

func fileJSON(_ path: String) throws -> JSON { try JSON(parsing: try fileBytes(path)) }

extension JSON {
  /// A number that must be there.
  func value(_ key: String) throws -> Double {
    guard let number = self[key]?.number else {
      throw JobError(description: "no number \"\(key)\" in \(text.prefix(300))")
    }
    return number
  }

  /// An array that must be there.
  func list(_ key: String) throws -> [JSON] {
    guard let elements = self[key]?.elements else {
      throw JobError(description: "no array \"\(key)\" in \(text.prefix(300))")
    }
    return elements
  }

  /// An array of numbers that must be there.
  func numbers(_ key: String) throws -> [Double] {
    try list(key).map { element in
      guard let number = element.number else {
        throw JobError(description: "no number in \"\(key)\" of \(text.prefix(300))")
      }
      return number
    }
  }

  /// Whether the object has a key.
  func has(_ key: String) -> Bool { self[key] != nil }

  /// A string that must be there.
  func words(_ key: String) throws -> String {
    guard let string = self[key]?.string else {
      throw JobError(description: "no string \"\(key)\" in \(text.prefix(300))")
    }
    return string
  }
}

/// |found − expected| / |expected|.
func relativeDifference(_ found: Double, _ expected: Double) -> Double {
  abs(found - expected) / abs(expected)
}
