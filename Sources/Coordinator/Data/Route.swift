import Worker

extension Route {
  /// The route of a row by one uniform draw.
  ///
  /// The unit interval is cut in the order ddp, dpp, dpr, offline. Where the fractions add up to 1,
  /// rounding aside, no draw is left for offline.
  ///
  /// - Parameters:
  ///   - uniform: the draw, in [0, 1).
  ///   - ddp: the fraction of `ddp`.
  ///   - dpp: the fraction of `dpp`.
  ///   - dpr: the fraction of `dpr`.
  /// - Returns: the route.
  public static func route(uniform: Double, ddp: Double, dpp: Double, dpr: Double) -> Route {
    if uniform < ddp { return .ddp }
    if uniform < ddp + dpp { return .dpp }
    let sum = ddp + dpp + dpr
    if uniform < sum { return .dpr }
    guard sum >= 1 - RunConfiguration.fractionTolerance else { return .offline }
    return dpr > 0 ? .dpr : dpp > 0 ? .dpp : .ddp
  }
}
