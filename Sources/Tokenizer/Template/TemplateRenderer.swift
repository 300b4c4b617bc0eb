/// Renders a template as Jinja does, with the variables and functions that transformers gives.
///
/// What would make Jinja raise an error is an error here too.
struct TemplateRenderer {
  private var scopes: [[String: TemplateValue]]
  private var namespaces: [[String: TemplateValue]] = []
  private var output = ""
  /// A bound on work and memory, so that no template runs for ever.
  private var stepsLeft = 1_000_000

  private init(_ variables: [String: TemplateValue]) { scopes = [variables] }

  /// The text of a template.
  ///
  /// - Parameters:
  ///   - statements: the parsed template.
  ///   - variables: its variables by name.
  /// - Returns: the text.
  /// - Throws: `TemplateError`, with the template's own words where it raises an exception.
  static func text(
    of statements: [TemplateStatement], variables: [String: TemplateValue]
  ) throws(TemplateError) -> String {
    var renderer = TemplateRenderer(variables)
    try renderer.run(statements)
    return renderer.output
  }

  private mutating func count() throws(TemplateError) {
    stepsLeft -= 1
    guard stepsLeft > 0 else { throw TemplateError("the template runs too long") }
  }

  private mutating func run(_ statements: [TemplateStatement]) throws(TemplateError) {
    for statement in statements {
      try count()
      switch statement {
      case .text(let text): output += text
      case .output(let expression): output += try text(of: try evaluate(expression))
      case .choice(let branches):
        for branch in branches where try evaluate(branch.condition).isTrue {
          try run(branch.body)
          break
        }
      case .loop(let names, let list, let condition, let body, let otherwise):
        try runLoop(names, list, condition, body, otherwise)
      case .assign(let name, let expression): assign(name, try evaluate(expression))
      case .assignMember(let object, let name, let expression):
        guard case .namespace(let number) = variable(object) else {
          throw TemplateError("a member is set of \(object), which is no namespace")
        }
        namespaces[number][name] = try evaluate(expression)
      case .capture(let name, let body):
        let before = output
        output = ""
        try run(body)
        assign(name, .string(output))
        output = before
      }
    }
  }

  private mutating func assign(_ name: String, _ value: TemplateValue) {
    scopes[scopes.count - 1][name] = value
  }

  private func variable(_ name: String) -> TemplateValue {
    for scope in scopes.reversed() {
      if let value = scope[name] { return value }
    }
    return .undefined(name)
  }

  private mutating func runLoop(
    _ names: [String], _ list: TemplateExpression, _ condition: TemplateExpression?,
    _ body: [TemplateStatement], _ otherwise: [TemplateStatement]
  ) throws(TemplateError) {
    var items: [[String: TemplateValue]] = []
    for element in try elements(of: try evaluate(list)) {
      try count()
      var variables = ["loop": TemplateValue.undefined("loop")]
      if names.count == 1 {
        variables[names[0]] = element
      } else {
        guard case .list(let parts) = element, parts.count == names.count else {
          throw TemplateError("a loop over \(names.count) variables finds other elements")
        }
        for (name, part) in zip(names, parts) { variables[name] = part }
      }
      if let condition {
        scopes.append(variables)
        defer { scopes.removeLast() }
        guard try evaluate(condition).isTrue else { continue }
      }
      items.append(variables)
    }
    for index in items.indices {
      scopes.append(items[index])
      defer { scopes.removeLast() }
      assign("loop", loop(items, index, names))
      try run(body)
    }
    if items.isEmpty { try run(otherwise) }
  }

  private func loop(
    _ items: [[String: TemplateValue]], _ index: Int, _ names: [String]
  ) -> TemplateValue {
    var members: [(key: String, value: TemplateValue)] = [
      ("index", .integer(index + 1)), ("index0", .integer(index)),
      ("revindex", .integer(items.count - index)),
      ("revindex0", .integer(items.count - index - 1)),
      ("first", .boolean(index == 0)), ("last", .boolean(index == items.count - 1)),
      ("length", .integer(items.count)),
    ]
    if names.count == 1 {
      if index > 0, let value = items[index - 1][names[0]] { members.append(("previtem", value)) }
      if index + 1 < items.count, let value = items[index + 1][names[0]] {
        members.append(("nextitem", value))
      }
    }
    return .dictionary(members)
  }

  private func elements(of value: TemplateValue) throws(TemplateError) -> [TemplateValue] {
    switch value {
    case .list(let elements): return elements
    case .undefined: return []
    case .string(let text): return text.unicodeScalars.map { .string(String($0)) }
    case .dictionary(let members): return members.map { .string($0.key) }
    default: throw TemplateError("a loop over \(value.kind)")
    }
  }

  private func text(of value: TemplateValue) throws(TemplateError) -> String {
    switch value {
    case .string(let text): return text
    case .undefined: return ""
    case .integer(let number): return String(number)
    case .boolean(let truth): return truth ? "True" : "False"
    case .none: return "None"
    case .list, .dictionary, .namespace: throw TemplateError("\(value.kind) is written as text")
    }
  }
}

// Expressions.
extension TemplateRenderer {
  private mutating func evaluate(_ expression: TemplateExpression) throws(TemplateError)
    -> TemplateValue
  {
    try count()
    switch expression {
    case .literal(let value): return value
    case .variable(let name):
      if name == "strftime_now" { throw TemplateRenderer.usesDate }
      return variable(name)
    case .list(let elements): return .list(try evaluate(elements))
    case .dictionary(let members): return try dictionary(members)
    case .member(let object, let name): return try member(try evaluate(object), name)
    case .element(let object, let index):
      return try element(try evaluate(object), try evaluate(index))
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
    switch object {
    case .undefined(let what): throw TemplateError("\(what) is undefined, so it has no \(name)")
    case .namespace(let number): return namespaces[number][name] ?? .undefined(name)
    default: return object[name] ?? .undefined(name)
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
      for element in try elements(of: value) { parts.append(try text(of: element)) }
      return .string(parts.joined(separator: try values.first.map(text(of:)) ?? ""))
    case ("list", 0): return .list(try elements(of: value))
    case ("first", 0): return try elements(of: value).first ?? .undefined("an element")
    case ("last", 0): return try elements(of: value).last ?? .undefined("an element")
    default: return try TemplateOperations.filter(name, value, values)
    }
  }
}
