/// What a template says that cannot be done, or went wrong: a phrase, without the file's name.
struct TemplateError: Error {
  let reason: String

  init(_ reason: String) { self.reason = reason }
}

/// A statement of a template.
indirect enum TemplateStatement: Sendable {
  case text(String)
  case output(TemplateExpression)
  /// Conditions with their bodies, first to last; an else branch has the condition `true`.
  case choice([Branch])
  /// `for names in list if condition`, with the body of `else`.
  case loop(
    names: [String], list: TemplateExpression, condition: TemplateExpression?,
    body: [TemplateStatement], otherwise: [TemplateStatement])
  case assign(name: String, TemplateExpression)
  /// `set object.name = …` for a namespace.
  case assignMember(object: String, name: String, TemplateExpression)
  /// `set name` … `endset`.
  case capture(name: String, body: [TemplateStatement])

  struct Branch: Sendable {
    let condition: TemplateExpression
    let body: [TemplateStatement]
  }
}

/// An expression of a template.
indirect enum TemplateExpression: Sendable {
  case literal(TemplateValue)
  case variable(String)
  case list([TemplateExpression])
  case dictionary([(key: TemplateExpression, value: TemplateExpression)])
  case member(TemplateExpression, String)
  case element(TemplateExpression, TemplateExpression)
  case slice(
    TemplateExpression, from: TemplateExpression?, to: TemplateExpression?,
    step: TemplateExpression?)
  /// A function of the template language, such as `range`.
  case call(String, Arguments)
  /// A method of a value, such as `strip`.
  case method(TemplateExpression, String, Arguments)
  case filter(TemplateExpression, String, Arguments)
  case test(TemplateExpression, String, Arguments)
  case not(TemplateExpression)
  case negative(TemplateExpression)
  case and(TemplateExpression, TemplateExpression)
  case or(TemplateExpression, TemplateExpression)
  case binary(String, TemplateExpression, TemplateExpression)
  /// `a < b < c`.
  case comparison(TemplateExpression, [(operation: String, operand: TemplateExpression)])
  /// `value if condition else otherwise`.
  case conditional(
    TemplateExpression, condition: TemplateExpression, otherwise: TemplateExpression?)

  struct Arguments: Sendable {
    var values: [TemplateExpression] = []
    var named: [(name: String, value: TemplateExpression)] = []
  }
}

/// A value while a template is rendered.
enum TemplateValue: Sendable {
  case undefined(String)
  case none
  case boolean(Bool)
  case integer(Int)
  case string(String)
  case list([TemplateValue])
  /// Members in order.
  case dictionary([(key: String, value: TemplateValue)])
  /// `loop` inside of a loop.
  case loop([(key: String, value: TemplateValue)])
  /// A namespace, by its number; its members are the renderer's.
  case namespace(Int)
}

extension TemplateValue {
  /// Truth as Python has it.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .boolean(let value): value
    case .integer(let value): value != 0
    case .string(let text): !text.utf8.isEmpty
    case .list(let elements): !elements.isEmpty
    case .dictionary(let members): !members.isEmpty
    case .namespace, .loop: true
    }
  }

  /// An integer, or a truth value as 0 or 1.
  var number: Int? {
    switch self {
    case .boolean(let value): value ? 1 : 0
    case .integer(let value): value
    default: nil
    }
  }

  /// Equality as Python has it; strings by their scalars.
  func equals(_ other: TemplateValue) -> Bool {
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.string(let left), .string(let right)): return left.utf8.elementsEqual(right.utf8)
    case (.list(let left), .list(let right)):
      return left.elementsEqual(right) { $0.equals($1) }
    case (.dictionary(let left), .dictionary(let right)):
      return left.count == right.count
        && left.allSatisfy { entry in
          right.contains {
            $0.key.utf8.elementsEqual(entry.key.utf8) && $0.value.equals(entry.value)
          }
        }
    case (.namespace(let left), .namespace(let right)): return left == right
    default:
      guard let left = number, let right = other.number else { return false }
      return left == right
    }
  }

  /// What this is, for messages.
  var kind: String {
    switch self {
    case .undefined(let name): "\(name), which is undefined,"
    case .none: "none"
    case .boolean: "a truth value"
    case .integer: "an integer"
    case .string: "a string"
    case .list: "a list"
    case .dictionary: "a mapping"
    case .namespace: "a namespace"
    case .loop: "the variable loop"
    }
  }

  /// The member under a key of a mapping or of `loop`, nil if there is none.
  subscript(key: String) -> TemplateValue? {
    switch self {
    case .dictionary(let members), .loop(let members):
      members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    default: nil
    }
  }
}
