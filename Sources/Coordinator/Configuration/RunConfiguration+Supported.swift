extension RunConfiguration {
  /// Refuses, by name, what the run file can say and this version does not do.
  ///
  /// - Throws: `ConfigurationError` for the first such key in the order of the run file.
  public func checkSupported() throws(ConfigurationError) {
    func refuse(_ setting: String, _ instead: String) -> ConfigurationError {
      ConfigurationError("\(setting) is not implemented in this version; \(instead)")
    }
    if method == .reward, adapter != nil {
      throw refuse("adapter with method: reward", "leave out the adapter: all weights are trained")
    }
  }
}
