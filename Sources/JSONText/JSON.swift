import CJansson

/// A JSON value (RFC 8259) that keeps the order of keys and compares keys by their UTF-8 bytes.
///
/// Foundation's readers compare keys by canonical equivalence and so lose vocabulary entries that
/// differ only in Unicode composition; this one, on jansson, does not. Reading refuses duplicate
/// keys, invalid UTF-8, lone surrogates and nesting beyond 2048. An integer beyond 64 bits, such as
/// the `model_max_length` that transformers writes, becomes the nearest double.
public enum JSON: Sendable {
  /// The literal `null`.
  case null
  /// `true` or `false`.
  case boolean(Bool)
  /// A number written without fraction or exponent.
  case integer(Int64)
  /// A number written with a fraction or an exponent.
  case number(Double)
  /// A string, its scalars exactly as written (no normalization).
  case string(String)
  /// An array.
  case array([JSON])
  /// An object, members in the order of the text.
  case object([Member])

  /// One member of an object.
  public struct Member: Sendable {
    /// The key, its scalars exactly as written.
    public var key: String
    /// The value.
    public var value: JSON

    /// A member from its parts.
    public init(key: String, value: JSON) {
      self.key = key
      self.value = value
    }
  }
}

/// Why a text is not JSON.
public struct JSONError: Error, CustomStringConvertible, Sendable {
  /// A sentence with the position.
  public let description: String
}

extension JSON {
  /// Reads one JSON value from UTF-8 bytes.
  ///
  /// - Parameter bytes: the whole text; anything but white space after the value is refused.
  /// - Throws: `JSONError` with line and column.
  public init(parsing bytes: UnsafeRawBufferPointer) throws(JSONError) {
    var failure = json_error_t()
    let text = bytes.bindMemory(to: CChar.self)
    let flags = sail_json_load_flags()
    var loaded = json_loadb(text.baseAddress, text.count, flags, &failure)
    let isOverflow = loaded == nil && json_error_code(&failure) == json_error_numeric_overflow
    if isOverflow {
      loaded = json_loadb(
        text.baseAddress, text.count, flags | sail_json_integers_as_reals(), &failure)
    }
    guard let root = loaded else {
      let reason = withUnsafeBytes(of: failure.text) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      throw JSONError(
        description: "not valid JSON at line \(failure.line), column \(failure.column): \(reason)")
    }
    defer { sail_json_release(root) }
    self = JSON(copying: root, wholeRealsAreIntegers: isOverflow)
  }

  /// Reads one JSON value from UTF-8 bytes.
  ///
  /// - Parameter bytes: the whole text.
  /// - Throws: `JSONError` with line and column.
  public init(parsing bytes: [UInt8]) throws(JSONError) {
    var result: Result<JSON, JSONError> = .success(.null)
    bytes.withUnsafeBytes { raw in
      do throws(JSONError) { result = .success(try JSON(parsing: raw)) } catch {
        result = .failure(error)
      }
    }
    self = try result.get()
  }

  private init(copying value: UnsafeMutablePointer<json_t>, wholeRealsAreIntegers: Bool) {
    func copy(_ child: UnsafeMutablePointer<json_t>) -> JSON {
      JSON(copying: child, wholeRealsAreIntegers: wholeRealsAreIntegers)
    }
    switch sail_json_type(value) {
    case JSON_OBJECT:
      var members: [Member] = []
      members.reserveCapacity(json_object_size(value))
      var iterator = json_object_iter(value)
      while let position = iterator {
        if let key = json_object_iter_key(position), let child = json_object_iter_value(position) {
          members.append(Member(key: String(cString: key), value: copy(child)))
        }
        iterator = json_object_iter_next(value, position)
      }
      self = .object(members)
    case JSON_ARRAY:
      self = .array(
        (0..<json_array_size(value)).map { index in
          json_array_get(value, index).map { copy($0) } ?? .null
        })
    case JSON_STRING:
      let length = json_string_length(value)
      let bytes = UnsafeRawBufferPointer(start: json_string_value(value), count: length)
      self = .string(String(decoding: bytes, as: UTF8.self))
    case JSON_INTEGER: self = .integer(Int64(json_integer_value(value)))
    case JSON_REAL:
      let number = json_real_value(value)
      if wholeRealsAreIntegers, abs(number) < 0x1p53, let whole = Int64(exactly: number) {
        self = .integer(whole)
      } else {
        self = .number(number)
      }
    case JSON_TRUE: self = .boolean(true)
    case JSON_FALSE: self = .boolean(false)
    default: self = .null
    }
  }
}

extension JSON {
  /// The value under a key of an object, nil if absent or not an object; keys compare by bytes.
  public subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
  }

  /// The members of an object, nil for anything else.
  public var members: [Member]? {
    guard case .object(let members) = self else { return nil }
    return members
  }

  /// The elements of an array, nil for anything else.
  public var elements: [JSON]? {
    guard case .array(let elements) = self else { return nil }
    return elements
  }

  /// The string, nil for anything else.
  public var string: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  /// The integer as `Int`, nil for anything else (a number with a fraction included).
  public var integer: Int? {
    guard case .integer(let value) = self else { return nil }
    return Int(value)
  }

  /// The number, integers included, nil for anything else.
  public var number: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// The truth value, nil for anything else.
  public var boolean: Bool? {
    guard case .boolean(let value) = self else { return nil }
    return value
  }

  /// Whether this is the literal `null`.
  public var isNull: Bool {
    guard case .null = self else { return false }
    return true
  }

  /// What this is, for error messages, such as "an object" or "a string".
  public var kind: String {
    switch self {
    case .null: "null"
    case .boolean: "a boolean"
    case .integer: "an integer"
    case .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}
