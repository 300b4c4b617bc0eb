import Foundation
import JSONText

/// One line of a JSONL file that holds an object.
public struct DataLine: Sendable {
  /// `file:line`, for error messages; lines count from 1, blank ones included.
  public let place: String
  /// The object.
  public let object: JSON

  /// A line from its parts.
  public init(place: String, object: JSON) {
    self.place = place
    self.object = object
  }

  /// The lines of a JSONL file (UTF-8, one JSON object a line).
  ///
  /// Blank lines are skipped; a byte order mark at the start and carriage returns at line ends are
  /// let pass.
  ///
  /// - Parameter path: the file.
  /// - Returns: the lines in the order of the file, at least one.
  /// - Throws: `DataError` if there is no such file, or a line is no JSON object, or there is none.
  public static func read(path: String) throws(DataError) -> [DataLine] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw DataError(path, "there is no such data file; check the path")
    }
    guard !isFolder.boolValue else {
      throw DataError(path, "this is a folder; give a JSONL file")
    }
    let bytes: Data
    do { bytes = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
      throw DataError(path, "the data file cannot be read: \(error.localizedDescription)")
    }
    return try read([UInt8](bytes), name: path)
  }

  /// The lines of the bytes of a JSONL file.
  ///
  /// - Parameters:
  ///   - bytes: the file's content.
  ///   - name: what error messages call the file.
  /// - Returns: the lines, at least one.
  /// - Throws: `DataError` if a line is no JSON object, or there is none.
  public static func read(_ bytes: [UInt8], name: String) throws(DataError) -> [DataLine] {
    var lines: [DataLine] = []
    var number = 0
    var start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    while start < bytes.count {
      number += 1
      let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      let line = bytes[start..<end]
      start = end + 1
      if line.allSatisfy(isBlank) { continue }
      lines.append(try parse(line, place: "\(name):\(number)"))
    }
    guard !lines.isEmpty else {
      throw DataError(name, "no usable row: the file is empty; give one JSON object a line")
    }
    return lines
  }

  private static func isBlank(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
  }

  private static func parse(
    _ line: ArraySlice<UInt8>, place: String
  ) throws(DataError) -> DataLine {
    guard String(validating: line, as: UTF8.self) != nil else {
      throw DataError(place, "the line is not UTF-8 text; save the file as UTF-8")
    }
    let object: JSON
    do throws(JSONError) { object = try JSON(parsing: Array(line)) } catch {
      throw DataError(place, broken(error))
    }
    guard object.members != nil else {
      let hint = object.elements == nil ? "" : "; write one object a line, not a list of rows"
      throw DataError(place, "a line must be a JSON object, found \(object.kind)\(hint)")
    }
    return DataLine(place: place, object: object)
  }

  /// The reader's reason, its line number (always 1) left out.
  private static func broken(_ error: JSONError) -> String {
    let text = error.description.replacingOccurrences(of: " at line 1, column", with: " at column")
    return "\(text); each line must be one whole JSON object"
  }
}

extension DataLine {
  /// Whether the object has a key.
  func has(_ key: String) -> Bool { object[key] != nil }

  /// The string under a required key.
  ///
  /// - Parameter key: the key.
  /// - Returns: the string.
  /// - Throws: `DataError` if it is missing, a list of messages or anything else but a string.
  func string(_ key: String) throws(DataError) -> String {
    guard let value = object[key] else {
      throw DataError(place, "the key \"\(key)\" is missing")
    }
    if let text = value.string { return text }
    if value.elements != nil {
      throw DataError(
        place,
        "\"\(key)\" is a list: conversations are not implemented in this version; "
          + "give the text as one string")
    }
    throw DataError(place, "\"\(key)\" must be a string, found \(value.kind)")
  }

  /// The prompt of a row that has other texts.
  func explicitPrompt() throws(DataError) -> String {
    if !has("prompt") {
      if has("chosen"), has("rejected") {
        throw DataError(
          place,
          "a row without a prompt of its own is not implemented in this version: "
            + "add a \"prompt\" key")
      }
      if has("messages") {
        throw DataError(
          place,
          "\"messages\": conversations are not implemented in this version; "
            + "give \"prompt\" and the completions as strings")
      }
    }
    return try string("prompt")
  }
}
