import JSONText
import Tokenizer

extension ModelFolder {
  /// How rows become text for this model.
  ///
  /// The model's own chat template is `chat_template.jinja`, else `chat_template` of
  /// tokenizer_config.json (of several the one named "default"), else of chat_template.json.
  ///
  /// - Parameter setting: `data.template`.
  /// - Returns: the template; a missing or unknown chat template is an error of the first row that
  ///   needs it, as plain rows do not.
  /// - Throws: `ConfigurationError` for a name that is no chat format.
  func template(_ setting: RunConfiguration.Template) throws -> PromptTemplate {
    func asset(_ name: String) -> [UInt8]? { assets.first { $0.name == name }?.bytes }
    let configuration = try asset("tokenizer_config.json").map {
      try parseJSON($0, source: "\(path)/tokenizer_config.json")
    }
    func token(_ key: String) -> String {
      configuration?[key]?.string ?? configuration?[key]?["content"]?.string ?? ""
    }
    let (bos, eos) = (token("bos_token"), token("eos_token"))
    if case .named(let name) = setting {
      guard let format = ChatFormat.named(name, bosToken: bos, eosToken: eos) else {
        throw ConfigurationError(
          "data.template: there is no template \"\(name)\"; the templates are "
            + RunConfiguration.Template.names.joined(separator: ", "))
      }
      return PromptTemplate(setting, chat: .success(format))
    }
    var found: (text: String, source: String)?
    if let bytes = asset("chat_template.jinja") {
      found = (String(decoding: bytes, as: UTF8.self), "\(path)/chat_template.jinja")
    } else if let text = defaultTemplate(configuration?["chat_template"]) {
      found = (text, "\(path)/tokenizer_config.json")
    } else if let bytes = asset("chat_template.json") {
      let source = "\(path)/chat_template.json"
      let text = defaultTemplate(try parseJSON(bytes, source: source)["chat_template"])
      found = text.map { ($0, source) }
    }
    guard let found else {
      return PromptTemplate(
        setting,
        chat: .failure(
          DataError(
            path,
            "the model has none (chat_template.jinja, or chat_template in tokenizer_config.json); "
              + "name one with data.template or --template: "
              + ChatFormat.names.joined(separator: ", "))))
    }
    do throws(TokenizerError) {
      return PromptTemplate(
        setting,
        chat: .success(
          try ChatFormat(
            recognizing: found.text, bosToken: bos, eosToken: eos, source: found.source)))
    } catch {
      return PromptTemplate(setting, chat: .failure(DataError(error)))
    }
  }

  /// A chat template: a string, or the one called "default" in a list of {name, template}.
  private func defaultTemplate(_ value: JSON?) -> String? {
    if let text = value?.string { return text }
    return value?.elements?.first { $0["name"]?.string == "default" }?["template"]?.string
  }
}
