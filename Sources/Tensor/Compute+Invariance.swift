extension Compute {
  /// Whether a row of a product has the same bits whatever rows are computed with it, so that what a
  /// model says of a sequence does not depend on the sequences beside it.
  public var areRowsIndependent: Bool { isInvariant }
}
