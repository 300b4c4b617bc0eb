/// The values a number may have.
enum NumberRange {
  case atLeast(Double)
  case above(Double)
  /// From the first, which is included, to the second, which is not.
  case fromBelow(Double, Double)
  /// Both ends included.
  case fromTo(Double, Double)
  /// From the first, which is not included, to the second, which is.
  case aboveTo(Double, Double)

  /// Whether a finite number lies in the range.
  func contains(_ value: Double) -> Bool {
    switch self {
    case .atLeast(let low): value >= low
    case .above(let low): value > low
    case .fromBelow(let low, let high): value >= low && value < high
    case .fromTo(let low, let high): value >= low && value <= high
    case .aboveTo(let low, let high): value > low && value <= high
    }
  }

  /// The range in words, to follow "must be".
  var description: String {
    func text(_ value: Double) -> String {
      Int(exactly: value).map(String.init) ?? "\(value)"
    }
    return switch self {
    case .atLeast(let low): "at least \(text(low))"
    case .above(let low): "above \(text(low))"
    case .fromBelow(let low, let high): "at least \(text(low)) and below \(text(high))"
    case .fromTo(let low, let high): "from \(text(low)) to \(text(high))"
    case .aboveTo(let low, let high): "above \(text(low)) and at most \(text(high))"
    }
  }
}
