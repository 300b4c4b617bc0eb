import JSONText

/// Reads members of a `config.json`, each with its range.
struct ConfigurationReader {
  let json: JSON
  let source: String

  func unsupported(_ key: String, _ found: String, supported: String) -> ModelError {
    ModelError("\(source): \(key) \(found) is not implemented; Sail supports \(supported)")
  }

  func string(_ key: String, default fallback: String? = nil) throws(ModelError) -> String {
    switch json[key] {
    case .some(.string(let text)): return text
    case nil, .some(.null):
      guard let fallback else { throw ModelError("\(source): the key \"\(key)\" is missing") }
      return fallback
    case .some(let other):
      throw ModelError("\(source): \(key) must be a string, found \(other.kind)")
    }
  }

  /// False where the key is missing.
  func boolean(_ key: String) throws(ModelError) -> Bool {
    guard let value = json[key], !value.isNull else { return false }
    guard let boolean = value.boolean else {
      throw ModelError("\(source): \(key) must be true or false, found \(value.text)")
    }
    return boolean
  }

  /// None where the key is missing.
  func strings(_ key: String) throws(ModelError) -> [String] {
    guard let value = json[key], !value.isNull else { return [] }
    let texts = value.elements?.compactMap(\.string)
    guard let texts, texts.count == value.elements?.count else {
      throw ModelError("\(source): \(key) must be an array of strings, found \(value.text)")
    }
    return texts
  }

  func size(_ key: String, limit: Int, default fallback: Int? = nil) throws(ModelError) -> Int {
    guard let value = try optionalSize(key, limit: limit, missing: fallback) ?? fallback else {
      throw ModelError("\(source): the key \"\(key)\" is missing")
    }
    return value
  }

  /// A size from 1, nil where it is null, `missing` where there is no key.
  func optionalSize(_ key: String, limit: Int, missing: Int?) throws(ModelError) -> Int? {
    switch json[key] {
    case .some(.integer(let value)):
      guard value >= 1, value <= Int64(limit) else {
        throw ModelError("\(source): \(key) must be between 1 and \(limit), found \(value)")
      }
      return Int(value)
    case nil: return missing
    case .some(.null): return nil
    case .some(let other):
      throw ModelError("\(source): \(key) must be a whole number, found \(other.kind)")
    }
  }

  /// A whole number from 0.
  func wholeNumber(_ key: String, default fallback: Int) throws(ModelError) -> Int {
    guard let value = json[key], !value.isNull else { return fallback }
    guard let number = value.integer, number >= 0 else {
      throw ModelError("\(source): \(key) must be a whole number from 0, found \(value.text)")
    }
    return number
  }

  func positive(_ key: String, default fallback: Double? = nil) throws(ModelError) -> Double {
    guard let value = json[key], !value.isNull else {
      guard let fallback else { throw ModelError("\(source): the key \"\(key)\" is missing") }
      return fallback
    }
    guard let number = value.number, number.isFinite, number > 0 else {
      throw ModelError("\(source): \(key) must be a positive number, found \(value.text)")
    }
    return number
  }

  /// `count` positive numbers.
  func positives(_ key: String, count: Int) throws(ModelError) -> [Double] {
    let numbers = json[key]?.elements?.compactMap(\.number).filter { $0.isFinite && $0 > 0 }
    guard let numbers, numbers.count == count, json[key]?.elements?.count == count else {
      throw ModelError("\(source): \(key) must be an array of \(count) positive numbers")
    }
    return numbers
  }
}
