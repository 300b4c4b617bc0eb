/// The names a template may use; any other is refused when it is read.
enum TemplateNames {
  static let functions = ["range", "namespace", "raise_exception", "strftime_now"]
  static let filters = [
    "trim", "length", "count", "string", "join", "list", "first", "last", "default", "d", "upper",
    "lower", "items", "tojson", "select", "reject", "selectattr", "rejectattr",
  ]
  static let methods = [
    "strip", "lstrip", "rstrip", "startswith", "endswith", "split", "upper", "lower", "replace",
    "get", "items",
  ]
  static let tests = [
    "defined", "undefined", "none", "string", "mapping", "sequence", "iterable", "number",
    "integer", "boolean", "true", "false", "odd", "even", "equalto", "eq", "in",
  ]
}

extension TemplateNames {
  /// Attributes of Python's strings, lists, mappings and integers.
  static let attributes: Set<String> = [
    "append", "as_integer_ratio", "bit_count", "bit_length", "capitalize", "casefold", "center",
    "clear", "conjugate", "copy", "count", "denominator", "encode", "endswith",
    "expandtabs", "extend", "find", "format", "format_map", "from_bytes", "fromkeys", "get", "imag",
    "index", "insert", "is_integer", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit",
    "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "items",
    "join", "keys", "ljust", "lower", "lstrip", "maketrans", "numerator", "partition", "pop",
    "popitem", "real", "remove", "removeprefix", "removesuffix", "replace", "reverse", "rfind",
    "rindex", "rjust", "rpartition", "rsplit", "rstrip", "setdefault", "sort", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "to_bytes", "translate", "update",
    "upper", "values", "zfill",
  ]
}

/// Operators, methods, filters and tests on values, with Python's meaning.
enum TemplateOperations {
  static func binary(_ operation: String, _ left: TemplateValue, _ right: TemplateValue)
    throws(TemplateError) -> TemplateValue
  {
    switch (operation, left, right) {
    case ("+", .string(let first), .string(let second)): return .string(first + second)
    case ("+", .list(let first), .list(let second)): return .list(first + second)
    default: break
    }
    let refusal = TemplateError("\(left.kind) \(operation) \(right.kind)")
    guard let first = left.number, let second = right.number else { throw refusal }
    let result: (partialValue: Int, overflow: Bool)
    switch operation {
    case "+": result = first.addingReportingOverflow(second)
    case "-": result = first.subtractingReportingOverflow(second)
    case "*": result = first.multipliedReportingOverflow(by: second)
    case "//", "%":
      let (quotient, overflow) = first.dividedReportingOverflow(by: second)
      guard !overflow else { throw refusal }
      let remainder = first - quotient * second
      // Python rounds down, so a remainder has the sign of the divisor.
      let isRoundedUp = remainder != 0 && (remainder < 0) != (second < 0)
      if operation == "//" { return .integer(isRoundedUp ? quotient - 1 : quotient) }
      return .integer(isRoundedUp ? remainder + second : remainder)
    default: throw refusal
    }
    guard !result.overflow else { throw refusal }
    return .integer(result.partialValue)
  }

  static func compare(_ operation: String, _ left: TemplateValue, _ right: TemplateValue)
    throws(TemplateError) -> Bool
  {
    switch operation {
    case "==": return left.equals(right)
    case "!=": return !left.equals(right)
    case "in": return try contains(right, left)
    case "not in": return !(try contains(right, left))
    default: break
    }
    guard let first = left.number, let second = right.number else {
      throw TemplateError("\(left.kind) \(operation) \(right.kind)")
    }
    switch operation {
    case "<": return first < second
    case "<=": return first <= second
    case ">": return first > second
    default: return first >= second
    }
  }

  private static func contains(_ container: TemplateValue, _ value: TemplateValue)
    throws(TemplateError) -> Bool
  {
    switch (container, value) {
    case (.undefined, _): return false
    case (.list(let elements), _): return elements.contains { $0.equals(value) }
    case (.dictionary, .string(let key)): return container[key] != nil
    case (.string(let text), .string(let part)):
      return range(of: Array(part.utf8), in: Array(text.utf8), from: 0) != nil
    default: throw TemplateError("\(value.kind) in \(container.kind)")
    }
  }

  /// Where bytes stand in others, at or after an index.
  private static func range(of part: [UInt8], in bytes: [UInt8], from start: Int) -> Range<Int>? {
    var index = start
    while index + part.count <= bytes.count {
      if bytes[index..<index + part.count].elementsEqual(part) { return index..<index + part.count }
      index += 1
    }
    return nil
  }

  static func method(_ name: String, of object: TemplateValue, _ arguments: [TemplateValue])
    throws(TemplateError) -> TemplateValue
  {
    let refusal = TemplateError("the method \(name) of \(object.kind) with these arguments")
    if case .dictionary(let members) = object {
      switch (name, arguments.count) {
      case ("items", 0): return .list(members.map { .list([.string($0.key), $0.value]) })
      case ("get", 1...2):
        guard case .string(let key) = arguments[0] else { throw refusal }
        return object[key] ?? (arguments.count == 2 ? arguments[1] : .none)
      default: throw refusal
      }
    }
    var texts: [String] = []
    for argument in arguments {
      guard case .string(let text) = argument else { throw refusal }
      texts.append(text)
    }
    guard case .string(let text) = object else { throw refusal }
    switch (name, texts.count) {
    case ("strip", 0...1): return strip(text, texts.first, left: true, right: true)
    case ("lstrip", 0...1): return strip(text, texts.first, left: true, right: false)
    case ("rstrip", 0...1): return strip(text, texts.first, left: false, right: true)
    case ("startswith", 1): return .boolean(text.utf8.starts(with: texts[0].utf8))
    case ("endswith", 1):
      return .boolean(text.utf8.reversed().starts(with: texts[0].utf8.reversed()))
    case ("split", 1) where !texts[0].utf8.isEmpty:
      return .list(split(text, by: texts[0]).map { .string($0) })
    case ("replace", 2) where !texts[0].utf8.isEmpty:
      let parts = split(text, by: texts[0])
      guard texts[1].utf8.count < 1 << 26 / parts.count else {
        throw TemplateError("a text this long")
      }
      return .string(parts.joined(separator: texts[1]))
    case ("upper", 0): return .string(text.uppercased())
    case ("lower", 0): return .string(text.lowercased())
    default: throw refusal
    }
  }

  private static func strip(_ text: String, _ characters: String?, left: Bool, right: Bool)
    -> TemplateValue
  {
    let stripped = characters.map { Set($0.unicodeScalars) }
    func isStripped(_ scalar: Unicode.Scalar) -> Bool {
      stripped?.contains(scalar) ?? scalar.isPythonSpace
    }
    var scalars = Substring(text).unicodeScalars
    while left, let first = scalars.first, isStripped(first) { scalars.removeFirst() }
    while right, let last = scalars.last, isStripped(last) { scalars.removeLast() }
    return .string(String(scalars))
  }

  private static func split(_ text: String, by separator: String) -> [String] {
    let (bytes, separator) = (Array(text.utf8), Array(separator.utf8))
    var parts: [String] = []
    var start = 0
    while let found = range(of: separator, in: bytes, from: start) {
      parts.append(String(decoding: bytes[start..<found.lowerBound], as: UTF8.self))
      start = found.upperBound
    }
    return parts + [String(decoding: bytes[start...], as: UTF8.self)]
  }

  static func filter(_ name: String, _ value: TemplateValue, _ arguments: [TemplateValue])
    throws(TemplateError) -> TemplateValue
  {
    switch (name, value, arguments.count) {
    case ("length", .list(let elements), 0), ("count", .list(let elements), 0):
      return .integer(elements.count)
    case ("length", .string(let text), 0), ("count", .string(let text), 0):
      return .integer(text.unicodeScalars.count)
    case ("length", .dictionary(let members), 0), ("count", .dictionary(let members), 0):
      return .integer(members.count)
    case ("length", .undefined, 0), ("count", .undefined, 0): return .integer(0)
    case ("default", _, 0...2), ("d", _, 0...2):
      let isWanting: Bool
      if case .undefined = value {
        isWanting = true
      } else {
        isWanting = arguments.count == 2 && arguments[1].isTrue && !value.isTrue
      }
      return isWanting ? arguments.first ?? .string("") : value
    case ("upper", _, 0), ("lower", _, 0), ("items", .dictionary, 0):
      return try method(name, of: value, [])
    case ("select", .list(let elements), 1...2), ("reject", .list(let elements), 1...2),
      ("selectattr", .list(let elements), 2...3), ("rejectattr", .list(let elements), 2...3):
      return .list(try choose(name, elements, arguments))
    default: throw TemplateError("the filter \(name) on \(value.kind) with these arguments")
    }
  }

  /// Elements that pass a test, or do not; by the member that the first argument names, for `…attr`.
  private static func choose(
    _ filter: String, _ elements: [TemplateValue], _ arguments: [TemplateValue]
  ) throws(TemplateError) -> [TemplateValue] {
    var rest = arguments[...]
    var member: String?
    if filter.hasSuffix("attr"), case .string(let name)? = rest.popFirst() { member = name }
    guard case .string(let test)? = rest.popFirst(), TemplateNames.tests.contains(test) else {
      throw TemplateError("the filter \(filter) with these arguments")
    }
    var chosen: [TemplateValue] = []
    for element in elements {
      let value = member.map { element[$0] ?? .undefined($0) } ?? element
      if try self.test(test, of: value, Array(rest)) == filter.hasPrefix("select") {
        chosen.append(element)
      }
    }
    return chosen
  }

  static func test(_ name: String, of value: TemplateValue, _ arguments: [TemplateValue])
    throws(TemplateError) -> Bool
  {
    switch (name, value, arguments.count) {
    case ("defined", .undefined, 0): return false
    case ("defined", _, 0): return true
    case ("undefined", .undefined, 0): return true
    case ("none", .none, 0): return true
    case ("string", .string, 0), ("mapping", .dictionary, 0), ("boolean", .boolean, 0),
      ("integer", .integer, 0), ("number", .integer, 0), ("number", .boolean, 0):
      return true
    case ("sequence", _, 0), ("iterable", _, 0):
      switch value {
      case .string, .list, .dictionary, .undefined: return true
      default: return false
      }
    case ("true", .boolean(let truth), 0): return truth
    case ("false", .boolean(let truth), 0): return !truth
    case ("odd", .integer(let number), 0): return number % 2 != 0
    case ("even", .integer(let number), 0): return number % 2 == 0
    case ("odd", _, _), ("even", _, _): throw TemplateError("the test \(name) of \(value.kind)")
    case ("equalto", _, 1), ("eq", _, 1): return value.equals(arguments[0])
    case ("in", _, 1): return try contains(arguments[0], value)
    case (_, .loop, _), ("equalto", _, 0), ("eq", _, 0), ("in", _, 0):
      throw TemplateError("the test \(name) of \(value.kind) with these arguments")
    case (_, _, 0): return false
    default: throw TemplateError("the test \(name) with these arguments")
    }
  }

  /// A slice as Python cuts it.
  static func slice(_ value: TemplateValue, from: Int?, to: Int?, step: Int?)
    throws(TemplateError) -> TemplateValue
  {
    switch value {
    case .list(let elements):
      return .list(try indices(elements.count, from, to, step).map { elements[$0] })
    case .string(let text):
      let scalars = Array(text.unicodeScalars)
      var cut = String.UnicodeScalarView()
      for index in try indices(scalars.count, from, to, step) { cut.append(scalars[index]) }
      return .string(String(cut))
    default: throw TemplateError("a slice of \(value.kind)")
    }
  }

  private static func indices(_ count: Int, _ from: Int?, _ to: Int?, _ step: Int?)
    throws(TemplateError) -> [Int]
  {
    let step = step ?? 1
    guard step != 0, step != .min else { throw TemplateError("a slice of this step") }
    let (least, most) = step > 0 ? (0, count) : (-1, count - 1)
    func place(_ bound: Int) -> Int {
      min(max(bound < 0 ? bound &+ count : bound, least), most)
    }
    let start = from.map(place) ?? (step > 0 ? least : most)
    let end = to.map(place) ?? (step > 0 ? most : least)
    return Array(stride(from: start, to: end, by: step))
  }
}
