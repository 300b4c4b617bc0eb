/// Renders a template as Jinja does, with the variables and functions that transformers gives.
///
/// What would make Jinja raise an error is an error here too.
struct TemplateRenderer {
  private var scopes: [[String: TemplateValue]]
  var namespaces: [[String: TemplateValue]] = []
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

  mutating func count(_ steps: Int = 1) throws(TemplateError) {
    stepsLeft -= steps
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

  func variable(_ name: String) -> TemplateValue {
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
      ("length", .integer(items.count)), ("depth", .integer(1)), ("depth0", .integer(0)),
    ]
    if names.count == 1 {
      if index > 0, let value = items[index - 1][names[0]] { members.append(("previtem", value)) }
      if index + 1 < items.count, let value = items[index + 1][names[0]] {
        members.append(("nextitem", value))
      }
    }
    return .loop(members)
  }

  func elements(of value: TemplateValue) throws(TemplateError) -> [TemplateValue] {
    switch value {
    case .list(let elements): return elements
    case .undefined: return []
    case .string(let text): return text.unicodeScalars.map { .string(String($0)) }
    case .dictionary(let members): return members.map { .string($0.key) }
    default: throw TemplateError("a loop over \(value.kind)")
    }
  }

  func text(of value: TemplateValue) throws(TemplateError) -> String {
    switch value {
    case .string(let text): return text
    case .undefined: return ""
    case .integer(let number): return String(number)
    case .boolean(let truth): return truth ? "True" : "False"
    case .none: return "None"
    case .list, .dictionary, .namespace, .loop:
      throw TemplateError("\(value.kind) is written as text")
    }
  }
}
