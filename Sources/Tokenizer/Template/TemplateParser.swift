/// Parses the part of Jinja that chat templates are written in; the rest is refused by name.
struct TemplateParser {
  let tokens: [TemplateToken]
  private(set) var position = 0
  var depth = 0

  static func statements(of template: String) throws(TemplateError) -> [TemplateStatement] {
    var parser = TemplateParser(tokens: try TemplateLexer.tokens(of: template))
    let (statements, end) = try parser.body(until: [])
    precondition(end == nil)
    return statements
  }

  private init(tokens: [TemplateToken]) { self.tokens = tokens + [.end] }

  var token: TemplateToken { tokens[position] }

  mutating func advance() { if position + 1 < tokens.count { position += 1 } }

  mutating func take(_ expected: TemplateToken) -> Bool {
    guard token == expected else { return false }
    advance()
    return true
  }

  mutating func expect(_ expected: TemplateToken, _ what: String) throws(TemplateError) {
    guard take(expected) else { throw TemplateError("\(what) is missing in a tag") }
  }

  mutating func name(_ what: String) throws(TemplateError) -> String {
    guard case .name(let name) = token else { throw TemplateError("\(what) is missing in a tag") }
    advance()
    return name
  }

  /// Statements up to one of the given tags, whose name is taken and returned.
  private mutating func body(until ends: [String]) throws(TemplateError)
    -> (statements: [TemplateStatement], end: String?)
  {
    depth += 1
    defer { depth -= 1 }
    guard depth < 100 else { throw TemplateError("blocks nested too deeply") }
    var statements: [TemplateStatement] = []
    while true {
      switch token {
      case .end:
        guard ends.isEmpty else {
          throw TemplateError("a block has no \(ends.joined(separator: " or "))")
        }
        return (statements, nil)
      case .text(let text):
        advance()
        statements.append(.text(text))
      case .outputBegin:
        advance()
        statements.append(.output(try expression()))
        try expect(.outputEnd, "}}")
      case .blockBegin:
        advance()
        let tag = try name("the tag's name")
        if ends.contains(tag) { return (statements, tag) }
        statements += try statement(tag)
      default: throw TemplateError("a tag that cannot be read")
      }
    }
  }

  private mutating func statement(_ tag: String) throws(TemplateError) -> [TemplateStatement] {
    switch tag {
    case "if": return [try choice()]
    case "for": return [try loop()]
    case "set": return [try assignment()]
    case "generation":
      // transformers marks the assistant's text with it; the text itself is the body's.
      try expect(.blockEnd, "%}")
      let body = try body(until: ["endgeneration"]).statements
      try expect(.blockEnd, "%}")
      return body
    default: throw TemplateError("the tag \(tag)")
    }
  }

  private mutating func choice() throws(TemplateError) -> TemplateStatement {
    var branches: [TemplateStatement.Branch] = []
    var condition = try expression()
    var ends = ["elif", "else", "endif"]
    while true {
      try expect(.blockEnd, "%}")
      let (statements, end) = try body(until: ends)
      branches.append(TemplateStatement.Branch(condition: condition, body: statements))
      switch end {
      case "elif": condition = try expression()
      case "else":
        condition = .literal(.boolean(true))
        ends = ["endif"]
      default:
        try expect(.blockEnd, "%}")
        return .choice(branches)
      }
    }
  }

  private mutating func loop() throws(TemplateError) -> TemplateStatement {
    var names = [try name("a loop's variable")]
    while take(.symbol(",")) { names.append(try name("a loop's variable")) }
    guard take(.name("in")) else { throw TemplateError("\"in\" is missing in a for tag") }
    let list = try disjunction()
    let condition = take(.name("if")) ? try expression() : nil
    if token == .name("recursive") { throw TemplateError("a recursive loop") }
    try expect(.blockEnd, "%}")
    let (body, end) = try body(until: ["else", "endfor"])
    try expect(.blockEnd, "%}")
    guard end == "else" else {
      return .loop(names: names, list: list, condition: condition, body: body, otherwise: [])
    }
    let otherwise = try self.body(until: ["endfor"]).statements
    try expect(.blockEnd, "%}")
    return .loop(names: names, list: list, condition: condition, body: body, otherwise: otherwise)
  }

  private mutating func assignment() throws(TemplateError) -> TemplateStatement {
    let target = try name("the variable of a set tag")
    if take(.symbol(".")) {
      let member = try name("the member of a set tag")
      try expect(.symbol("="), "=")
      let value = try expression()
      try expect(.blockEnd, "%}")
      return .assignMember(object: target, name: member, value)
    }
    if take(.symbol("=")) {
      let value = try expression()
      try expect(.blockEnd, "%}")
      return .assign(name: target, value)
    }
    try expect(.blockEnd, "= or %}")
    let body = try body(until: ["endset"]).statements
    try expect(.blockEnd, "%}")
    return .capture(name: target, body: body)
  }
}
