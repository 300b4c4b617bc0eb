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

  /// The line of some bytes.
  ///
  /// - Parameters:
  ///   - bytes: one JSON object in UTF-8.
  ///   - place: what error messages call the line.
  /// - Throws: `DataError` if they are anything else.
  init(parsing bytes: ArraySlice<UInt8>, place: String) throws(DataError) {
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw DataError(place, "the line is not UTF-8 text; save the file as UTF-8")
    }
    let object: JSON
    do throws(JSONError) { object = try JSON(parsing: Array(bytes)) } catch {
      // The reader's reason, its line number (always 1) left out.
      let reason = error.description.replacing(" at line 1, column", with: " at column")
      throw DataError(place, "\(reason); each line must be one whole JSON object")
    }
    guard object.members != nil else {
      let hint = object.elements == nil ? "" : "; write one object a line, not a list of rows"
      throw DataError(place, "a line must be a JSON object, found \(object.kind)\(hint)")
    }
    self.init(place: place, object: object)
  }

  /// All lines of a JSONL file that are not blank.
  ///
  /// - Parameter path: the file; it may be compressed by gzip or zstd.
  /// - Returns: the lines in the order of the file, at least one.
  /// - Throws: `DataError` if there is no such file, or a line is no JSON object, or there is none.
  public static func read(path: String) throws(DataError) -> [DataLine] {
    let lines = try DataLines(path: path)
    var result: [DataLine] = []
    while let line = try lines.next() { result.append(line) }
    return result
  }
}
