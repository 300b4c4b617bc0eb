// Expressions, from the loosest binding to the tightest, as Jinja's grammar has them.
extension TemplateParser {
  mutating func expression() throws(TemplateError) -> TemplateExpression {
    depth += 1
    defer { depth -= 1 }
    guard depth < 100 else { throw TemplateError("expressions nested too deeply") }
    var value = try disjunction()
    while take(.name("if")) {
      let condition = try disjunction()
      let otherwise = take(.name("else")) ? try expression() : nil
      value = .conditional(value, condition: condition, otherwise: otherwise)
    }
    return value
  }

  mutating func disjunction() throws(TemplateError) -> TemplateExpression {
    var left = try conjunction()
    while take(.name("or")) { left = .or(left, try conjunction()) }
    return left
  }

  private mutating func conjunction() throws(TemplateError) -> TemplateExpression {
    var left = try negation()
    while take(.name("and")) { left = .and(left, try negation()) }
    return left
  }

  private mutating func negation() throws(TemplateError) -> TemplateExpression {
    var count = 0
    while take(.name("not")) { count += 1 }
    guard count <= 100 else { throw TemplateError("expressions nested too deeply") }
    var value = try comparison()
    for _ in 0..<count { value = .not(value) }
    return value
  }

  private mutating func comparison() throws(TemplateError) -> TemplateExpression {
    let first = try binary(["+", "-"], level: 0)
    var rest: [(operation: String, operand: TemplateExpression)] = []
    while let operation = comparisonOperator() {
      rest.append((operation, try binary(["+", "-"], level: 0)))
    }
    return rest.isEmpty ? first : .comparison(first, rest)
  }

  private mutating func comparisonOperator() -> String? {
    switch token {
    case .symbol(let symbol) where ["==", "!=", "<", "<=", ">", ">="].contains(symbol):
      advance()
      return symbol
    case .name("in"):
      advance()
      return "in"
    case .name("not") where tokens[position + 1] == .name("in"):
      advance()
      advance()
      return "not in"
    default: return nil
    }
  }

  /// Sums, then `~`, then products.
  private mutating func binary(_ operators: [String], level: Int) throws(TemplateError)
    -> TemplateExpression
  {
    var left = try operand(level)
    while case .symbol(let symbol) = token, operators.contains(symbol) {
      advance()
      left = .binary(symbol, left, try operand(level))
    }
    return left
  }

  private mutating func operand(_ level: Int) throws(TemplateError) -> TemplateExpression {
    switch level {
    case 0: return try binary(["~"], level: 1)
    case 1: return try binary(["*", "/", "//", "%"], level: 2)
    default: return try filtered(try sign())
    }
  }

  /// A sign binds tighter than a filter, looser than a member.
  private mutating func sign() throws(TemplateError) -> TemplateExpression {
    if take(.symbol("-")) {
      if token == .symbol("-") { throw TemplateError("two signs in a row") }
      return .negative(try postfixed(try primary()))
    }
    let value = try postfixed(try primary())
    if token == .symbol("**") { throw TemplateError("the operator **") }
    return value
  }

  private mutating func primary() throws(TemplateError) -> TemplateExpression {
    let first = token
    advance()
    switch first {
    case .string(var text):
      while case .string(let next) = token {
        text += next
        advance()
      }
      return .literal(.string(text))
    case .integer(let value): return .literal(.integer(value))
    case .name("true"), .name("True"): return .literal(.boolean(true))
    case .name("false"), .name("False"): return .literal(.boolean(false))
    case .name("none"), .name("None"): return .literal(.none)
    case .name(let name): return .variable(name)
    case .symbol("("):
      let value = try expression()
      if token == .symbol(",") { throw TemplateError("a tuple") }
      try expect(.symbol(")"), ")")
      return value
    case .symbol("["): return .list(try list(until: "]"))
    case .symbol("{"): return try dictionary()
    default: throw TemplateError("an expression is missing in a tag")
    }
  }

  private mutating func list(until end: String) throws(TemplateError) -> [TemplateExpression] {
    var elements: [TemplateExpression] = []
    while !take(.symbol(end)) {
      if !elements.isEmpty { try expect(.symbol(","), ",") }
      if take(.symbol(end)) { break }
      elements.append(try expression())
    }
    return elements
  }

  private mutating func dictionary() throws(TemplateError) -> TemplateExpression {
    var members: [(key: TemplateExpression, value: TemplateExpression)] = []
    while !take(.symbol("}")) {
      if !members.isEmpty { try expect(.symbol(","), ",") }
      if take(.symbol("}")) { break }
      let key = try expression()
      try expect(.symbol(":"), ":")
      members.append((key, try expression()))
    }
    return .dictionary(members)
  }
}

// What follows a value: members, elements, calls, filters and tests.
extension TemplateParser {
  private mutating func postfixed(_ start: TemplateExpression) throws(TemplateError)
    -> TemplateExpression
  {
    var value = start
    while true {
      if take(.symbol(".")) {
        let member = try name("a member")
        if take(.symbol("(")) {
          value = .method(
            value, try known(member, TemplateNames.methods, "method"), try arguments())
        } else {
          value = .member(value, member)
        }
      } else if take(.symbol("[")) {
        value = try element(of: value)
      } else if token == .symbol("("), case .variable(let function) = value {
        advance()
        value = .call(try known(function, TemplateNames.functions, "function"), try arguments())
      } else if token == .symbol("(") {
        throw TemplateError("a call of a value")
      } else {
        return value
      }
    }
  }

  private mutating func element(of value: TemplateExpression) throws(TemplateError)
    -> TemplateExpression
  {
    let start = token == .symbol(":") ? nil : try expression()
    guard take(.symbol(":")) else {
      try expect(.symbol("]"), "]")
      guard let start else { throw TemplateError("an index is missing") }
      return .element(value, start)
    }
    var bounds: [TemplateExpression?] = [nil, nil]
    if token != .symbol(":"), token != .symbol("]") { bounds[0] = try expression() }
    if take(.symbol(":")), token != .symbol("]") { bounds[1] = try expression() }
    try expect(.symbol("]"), "]")
    return .slice(value, from: start, to: bounds[0], step: bounds[1])
  }

  private mutating func arguments() throws(TemplateError) -> TemplateExpression.Arguments {
    var arguments = TemplateExpression.Arguments()
    var isFirst = true
    while !take(.symbol(")")) {
      if !isFirst { try expect(.symbol(","), ",") }
      isFirst = false
      if take(.symbol(")")) { break }
      if case .name(let name) = token, tokens[position + 1] == .symbol("=") {
        advance()
        advance()
        arguments.named.append((name, try expression()))
      } else {
        arguments.values.append(try expression())
      }
    }
    return arguments
  }

  private mutating func filtered(_ start: TemplateExpression) throws(TemplateError)
    -> TemplateExpression
  {
    var value = start
    while true {
      if take(.symbol("|")) {
        let filter = try known(try name("a filter"), TemplateNames.filters, "filter")
        value = .filter(value, filter, take(.symbol("(")) ? try arguments() : .init())
      } else if take(.name("is")) {
        let isNegated = take(.name("not"))
        let test = try known(try name("a test"), TemplateNames.tests, "test")
        value = .test(value, test, take(.symbol("(")) ? try arguments() : .init())
        if isNegated { value = .not(value) }
      } else {
        return value
      }
    }
  }

  private func known(_ name: String, _ names: [String], _ what: String) throws(TemplateError)
    -> String
  {
    guard names.contains(name) else { throw TemplateError("the \(what) \(name)") }
    return name
  }
}
