// Expressions.
extension TemplateRenderer {
  /// The value of an expression; counted as work, and a text by its length too.
  mutating func evaluate(_ expression: TemplateExpression) throws(TemplateError)
    -> TemplateValue
  {
    let value = try value(of: expression)
    if case .string(let text) = value {
      try count(1 + text.utf8.count / 64)
    } else {
      try count(1)
    }
    return value
  }

  private mutating func value(of expression: TemplateExpression) throws(TemplateError)
    -> TemplateValue
  {
    switch expression {
    case .literal(let value): return value
    case .variable(let name):
      if name == "strftime_now" { throw TemplateRenderer.usesDate }
      return variable(name)
    case .list(let elements): return .list(try evaluate(elements))
    case .dictionary(let members): return try dictionary(members)
    case .member(let object, let name):
      // Evaluated first: it may make a namespace, which the member is then looked for in.
      let value = try evaluate(object)
      return try member(value, name)
    case .element(let object, let index):
      let value = try evaluate(object)
      let place = try evaluate(index)
      return try element(value, place)
    case .slice(let object, let from, let to, let step):
      let bounds = [try bound(from), try bound(to), try bound(step)]
      return try TemplateOperations.slice(
        try evaluate(object), from: bounds[0], to: bounds[1], step: bounds[2])
    case .call(let name, let arguments): return try call(name, arguments)
    case .method(let object, let name, let arguments):
      return try TemplateOperations.method(
        name, of: try evaluate(object), try values(arguments, of: name))
    case .filter(let value, let name, let arguments): return try filter(value, name, arguments)
    case .test(let value, let name, let arguments):
      return .boolean(
        try TemplateOperations.test(
          name, of: try evaluate(value), try values(arguments, of: name)))
    case .not(let value): return .boolean(!(try evaluate(value).isTrue))
    case .negative(let value):
      return try TemplateOperations.binary("-", .integer(0), try evaluate(value))
    case .and(let left, let right):
      let value = try evaluate(left)
      return value.isTrue ? try evaluate(right) : value
    case .or(let left, let right):
      let value = try evaluate(left)
      return value.isTrue ? value : try evaluate(right)
    case .binary("~", let left, let right):
      return .string(try text(of: try evaluate(left)) + text(of: try evaluate(right)))
    case .binary(let operation, let left, let right):
      return try TemplateOperations.binary(operation, try evaluate(left), try evaluate(right))
    case .comparison(let first, let rest):
      var left = try evaluate(first)
      for (operation, operand) in rest {
        let right = try evaluate(operand)
        guard try TemplateOperations.compare(operation, left, right) else {
          return .boolean(false)
        }
        left = right
      }
      return .boolean(true)
    case .conditional(let value, let condition, let otherwise):
      if try evaluate(condition).isTrue { return try evaluate(value) }
      return try otherwise.map { other throws(TemplateError) in try evaluate(other) }
        ?? .undefined("a value without else")
    }
  }

  private static let usesDate = TemplateError(
    "it writes today's date, so texts would differ from day to day")

  private mutating func evaluate(_ expressions: [TemplateExpression]) throws(TemplateError)
    -> [TemplateValue]
  {
    var values: [TemplateValue] = []
    for expression in expressions { values.append(try evaluate(expression)) }
    return values
  }

  /// The values of arguments where names are not taken.
  private mutating func values(_ arguments: TemplateExpression.Arguments, of name: String)
    throws(TemplateError) -> [TemplateValue]
  {
    if let named = arguments.named.first {
      throw TemplateError("the argument \(named.name) of \(name)")
    }
    return try evaluate(arguments.values)
  }

  private mutating func bound(_ expression: TemplateExpression?) throws(TemplateError) -> Int? {
    guard let expression else { return nil }
    let value = try evaluate(expression)
    if case .none = value { return nil }
    guard let number = value.number else { throw TemplateError("a slice by \(value.kind)") }
    return number
  }

  private mutating func dictionary(
    _ members: [(key: TemplateExpression, value: TemplateExpression)]
  ) throws(TemplateError) -> TemplateValue {
    var result: [(key: String, value: TemplateValue)] = []
    for member in members {
      guard case .string(let key) = try evaluate(member.key) else {
        throw TemplateError("a key that is no string")
      }
      result.append((key, try evaluate(member.value)))
    }
    return .dictionary(result)
  }

  private func member(_ object: TemplateValue, _ name: String) throws(TemplateError)
    -> TemplateValue
  {
    let refusal = TemplateError("the member \(name) of \(object.kind)")
    switch object {
    case .undefined(let what): throw TemplateError("\(what) is undefined, so it has no \(name)")
    case .namespace(let number): return namespaces[number][name] ?? .undefined(name)
    case .loop:
      guard let value = object[name] else {
        if ["previtem", "nextitem"].contains(name) { return .undefined(name) }
        throw refusal
      }
      return value
    case .none, .boolean, .integer, .string, .list, .dictionary:
      // Jinja finds the attributes of Python's types too.
      guard !TemplateNames.attributes.contains(name), !name.hasPrefix("_") else { throw refusal }
      return object[name] ?? .undefined(name)
    }
  }

  private func element(_ object: TemplateValue, _ index: TemplateValue) throws(TemplateError)
    -> TemplateValue
  {
    switch (object, index) {
    case (_, .string(let name)): return try member(object, name)
    case (.list(let elements), .integer(let index)):
      let position = index < 0 ? index &+ elements.count : index
      return elements.indices.contains(position) ? elements[position] : .undefined("an element")
    case (.string(let text), .integer):
      return try element(.list(text.unicodeScalars.map { .string(String($0)) }), index)
    default: throw TemplateError("an element of \(object.kind) by \(index.kind)")
    }
  }

  private mutating func call(_ name: String, _ arguments: TemplateExpression.Arguments)
    throws(TemplateError) -> TemplateValue
  {
    if name == "namespace" {
      var members: [String: TemplateValue] = [:]
      guard arguments.values.isEmpty else { throw TemplateError("a namespace of a mapping") }
      for (name, value) in arguments.named { members[name] = try evaluate(value) }
      namespaces.append(members)
      return .namespace(namespaces.count - 1)
    }
    if name == "strftime_now" { throw TemplateRenderer.usesDate }
    let values = try values(arguments, of: name)
    switch (name, values.count) {
    case ("raise_exception", 1):
      throw TemplateError("the template says: \(try text(of: values[0]))")
    case ("range", 1...3):
      let numbers = values.compactMap(\.number)
      guard numbers.count == values.count, numbers.allSatisfy({ abs($0 / 2) < 1 << 20 }) else {
        throw TemplateError("a range of these bounds")
      }
      let step = numbers.count == 3 ? numbers[2] : 1
      guard step != 0 else { throw TemplateError("a range of step 0") }
      let from = numbers.count == 1 ? 0 : numbers[0]
      let to = numbers.count == 1 ? numbers[0] : numbers[1]
      return .list(stride(from: from, to: to, by: step).map { .integer($0) })
    default: throw TemplateError("the function \(name) with \(values.count) arguments")
    }
  }

  private mutating func filter(
    _ operand: TemplateExpression, _ name: String, _ arguments: TemplateExpression.Arguments
  ) throws(TemplateError) -> TemplateValue {
    if name == "tojson" { throw TemplateError("the filter tojson, which tools need,") }
    let value = try evaluate(operand)
    let values = try values(arguments, of: name)
    switch (name, values.count) {
    case ("string", 0): return .string(try text(of: value))
    case ("trim", 0...1):
      return try TemplateOperations.method("strip", of: .string(try text(of: value)), values)
    case ("join", 0...1):
      var parts: [String] = []
      for element in try elements(of: value) {
        parts.append(try text(of: element))
        try count(1 + (parts.last?.utf8.count ?? 0) / 64)
      }
      return .string(parts.joined(separator: try values.first.map(text(of:)) ?? ""))
    case ("list", 0): return .list(try elements(of: value))
    case ("first", 0): return try elements(of: value).first ?? .undefined("an element")
    case ("last", 0): return try elements(of: value).last ?? .undefined("an element")
    default: return try TemplateOperations.filter(name, value, values)
    }
  }
}
