import Glibc

/// A mean or a share with its 95 % interval.
struct Estimate {
  var value: Double
  var low: Double
  var high: Double

  /// A number without an interval.
  init(value: Double) {
    self.value = value
    (low, high) = (.nan, .nan)
  }

  /// Mean of a sample, ± 1.96 standard errors; no interval for a single number.
  init?(meanOf values: [Double]) {
    guard !values.isEmpty else { return nil }
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / max(1, count - 1)
    let half = values.count > 1 ? 1.96 * (variance / count).squareRoot() : .nan
    value = mean
    low = mean - half
    high = mean + half
  }

  /// Share of successes, each from 0 to 1 (a tie is ½): Wilson's score interval (JASA 1927).
  init?(shareOf values: [Double]) {
    guard !values.isEmpty else { return nil }
    let z = 1.96
    let count = Double(values.count)
    let share = values.reduce(0, +) / count
    let denominator = 1 + z * z / count
    let center = (share + z * z / (2 * count)) / denominator
    let half =
      z / denominator * (share * (1 - share) / count + z * z / (4 * count * count)).squareRoot()
    value = share
    low = max(0, center - half)
    high = min(1, center + half)
  }
}

/// Win rates of ours over theirs: ties count ½, and strictly as losses (the paper's).
struct WinRate {
  var rate: Estimate
  var strict: Estimate

  init?(ours: [Double], theirs: [Double]) {
    let pairs = zip(ours, theirs)
    guard
      let rate = Estimate(
        shareOf: pairs.map { $0.0 > $0.1 ? 1 : $0.0 == $0.1 ? 0.5 : 0 }),
      let strict = Estimate(shareOf: pairs.map { $0.0 > $0.1 ? 1 : 0 })
    else { return nil }
    self.rate = rate
    self.strict = strict
  }
}
