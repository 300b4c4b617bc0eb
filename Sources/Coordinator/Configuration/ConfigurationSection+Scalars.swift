extension ConfigurationSection {
  /// The largest whole number a run file takes: products of two of them fit 64 bits.
  static let largestWhole = Int(Int32.max)

  /// Reads a whole number.
  func read(
    _ key: String, into target: inout Int, atLeast low: Int
  ) throws(ConfigurationError) {
    guard let value = try written(key, "a whole number") else { return }
    target = try whole(key, value, atLeast: low)
  }

  /// A value as a whole number from `low` to `largestWhole`.
  func whole(
    _ key: String, _ value: ConfigurationValue, atLeast low: Int, or other: String = ""
  ) throws(ConfigurationError) -> Int {
    let expected = "a whole number\(other)"
    guard case .scalar(let text, isPlain: true) = value.content else {
      throw mismatch(key, value, expected)
    }
    guard ConfigurationSection.isWhole(text) else {
      var error = mismatch(key, value, expected)
      if let number = ConfigurationSection.number(text), let exact = Int(exactly: number) {
        error = ConfigurationError("\(error.description); write \(exact)")
      }
      throw error
    }
    guard let number = Int(text), number >= low, number <= ConfigurationSection.largestWhole
    else {
      let tooLarge = !text.hasPrefix("-") && (Int(text) ?? Int.max) >= low
      throw mismatch(
        key, value,
        tooLarge ? "at most \(ConfigurationSection.largestWhole)" : "at least \(low)")
    }
    return number
  }

  /// Reads a seed: any whole number that fits 64 bits without a sign.
  func read(_ key: String, into target: inout UInt64) throws(ConfigurationError) {
    let expected = "a whole number from 0 to \(UInt64.max)"
    guard let value = try written(key, expected) else { return }
    guard case .scalar(let text, isPlain: true) = value.content,
      ConfigurationSection.isWhole(text), let number = UInt64(text)
    else { throw mismatch(key, value, expected) }
    target = number
  }

  /// Reads a finite number.
  func read(
    _ key: String, into target: inout Double, _ range: NumberRange
  ) throws(ConfigurationError) {
    guard let value = try written(key, "a number") else { return }
    target = try number(key, value, range)
  }

  /// A value as a finite number in a range.
  func number(
    _ key: String, _ value: ConfigurationValue, _ range: NumberRange
  ) throws(ConfigurationError) -> Double {
    guard case .scalar(let text, isPlain: true) = value.content,
      let number = ConfigurationSection.number(text)
    else { throw mismatch(key, value, "a number") }
    guard number.isFinite else { throw mismatch(key, value, "a finite number") }
    guard range.contains(number) else { throw mismatch(key, value, range.description) }
    return number
  }

  /// Reads true or false.
  func read(_ key: String, into target: inout Bool) throws(ConfigurationError) {
    guard let value = try written(key, "true or false") else { return }
    switch value.content {
    case .scalar("true", isPlain: true): target = true
    case .scalar("false", isPlain: true): target = false
    default: throw mismatch(key, value, "true or false")
    }
  }

  /// Reads one of a list of choices.
  func read<Choice: RawRepresentable & CaseIterable>(
    _ key: String, into target: inout Choice
  ) throws(ConfigurationError) where Choice.RawValue == String {
    let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
    guard let value = try written(key, "one of \(names)") else { return }
    guard case .scalar(let text, _) = value.content, let choice = Choice(rawValue: text) else {
      throw mismatch(key, value, "one of \(names)")
    }
    target = choice
  }

  /// The text under a key, nil if absent or nothing.
  func text(_ key: String, _ what: String) throws(ConfigurationError) -> String? {
    guard let value = value(key) else { return nil }
    return try text(key, value, what)
  }

  /// A value as text: a scalar that is neither empty nor holds a NUL.
  func text(
    _ key: String, _ value: ConfigurationValue, _ what: String
  ) throws(ConfigurationError) -> String {
    guard case .scalar(let text, _) = value.content, !text.isEmpty,
      !text.unicodeScalars.contains("\0")
    else { throw mismatch(key, value, what) }
    return text
  }

  /// The text under a required key.
  func required(_ key: String, _ what: String) throws(ConfigurationError) -> String {
    guard let text = try text(key, what) else { throw missing(key, "give \(what)") }
    return text
  }

  private static func isWhole(_ text: String) -> Bool {
    let digits =
      text.utf8.first.map { $0 == 0x2B || $0 == 0x2D } == true
      ? text.utf8.dropFirst() : text.utf8[...]
    return !digits.isEmpty && digits.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
  }

  /// A decimal number, or one of YAML's spellings of infinity and not-a-number.
  static func number(_ text: String) -> Double? {
    switch text.lowercased() {
    case ".nan", "nan": return .nan
    case ".inf", "+.inf", "inf", "infinity": return .infinity
    case "-.inf", "-inf", "-infinity": return -.infinity
    default: break
    }
    let isDecimal = text.utf8.allSatisfy { byte in
      (byte >= 0x30 && byte <= 0x39) || [0x2B, 0x2D, 0x2E, 0x45, 0x65].contains(byte)
    }
    return isDecimal ? Double(text) : nil
  }
}

extension ConfigurationSection {
  /// Reads a text that has a default.
  func read(
    _ key: String, into target: inout String, _ what: String
  ) throws(ConfigurationError) {
    guard let value = try written(key, what) else { return }
    target = try text(key, value, what)
  }

  /// The texts of a list that has at least one.
  func texts(_ key: String, _ what: String) throws(ConfigurationError) -> [String] {
    guard let value = value(key) else { throw missing(key, "give \(what)") }
    guard case .list(let elements) = value.content, let first = elements.first else {
      throw mismatch(key, value, what)
    }
    var texts = [try text(key, first, what)]
    for element in elements.dropFirst() {
      guard case .scalar(let text, _) = element.content, !text.unicodeScalars.contains("\0")
      else { throw mismatch(key, element, what) }
      texts.append(text)
    }
    return texts
  }
}
