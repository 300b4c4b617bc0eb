import JSONText
import Testing
import Tokenizer

@testable import Coordinator

@Suite struct PromptTemplateTests {
  private let model: ModelFolder

  init() throws { model = try ModelFolder(path: fixturePath("models/gqa-tied")) }

  private func text(_ text: String, _ name: String) throws -> TextRow {
    let line = DataLine(place: "a:7", object: try JSON(parsing: Array(text.utf8)))
    let setting = try #require(RunConfiguration.Template(name: name))
    return try model.template(setting).text(of: DataForm(recognizing: line).row(line))
  }

  private let strings = #"{"prompt": "p", "chosen": "c", "rejected": "r"}"#
  private let conversation =
    #"{"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]}"#
  private let turns =
    #"{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}"#

  @Test func stringsGetATemplateOnlyByName() throws {
    for name in ["auto", "plain"] {
      let row = try text(strings, name)
      #expect(row.prompt == "p" && row.responses.map(\.text) == ["c", "r"] && !row.isTemplated)
    }
    for name in ["chat", "chatml"] {
      let row = try text(strings, name)
      #expect(row.prompt.contains("<|im_start|>user\np<|im_end|>\n<|im_start|>assistant\n"))
      #expect(row.responses.map(\.text) == ["c<|im_end|>\n", "r<|im_end|>\n"])
      #expect(row.responses.map(\.shown) == ["c", "r"] && row.isTemplated)
    }
  }

  @Test(arguments: [
    (
      "human-assistant", "Human: p\n\nAssistant: ",
      "Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: "
    ),
    ("inst", "[INST] p [/INST] ", "[INST] a [/INST] b [INST] c [/INST] "),
  ])
  func theStringsOfThePaper(name: String, single: String, several: String) throws {
    for row in [try text(strings, name), try text(conversation, name)] {
      #expect(row.prompt == single && row.chosen == "c" && !row.isTemplated)
    }
    #expect(try text(turns, name).prompt == several)
  }

  @Test func plainTakesTheContentsOfOneTurn() throws {
    let row = try text(conversation, "plain")
    #expect(row.prompt == "p" && row.responses.map(\.text) == ["c"] && !row.isTemplated)
    #expect(row.given.json.text == #"[{"role": "user", "content": "p"}]"#)
  }

  @Test(arguments: [
    ("plain", "one message of the user"), ("human-assistant", "user and assistant in turn"),
    ("inst", "user and assistant in turn"),
  ])
  func rolesWithoutAPlace(name: String, part: String) throws {
    let system =
      #"{"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}]}"#
    let given = name == "plain" ? turns : system
    let error = #expect(throws: DataError.self) { try text(given, name) }
    let sentence = error?.description ?? ""
    #expect(sentence.hasPrefix("a:7: the template \(name) has a place for \(part)"), "\(sentence)")
  }

  @Test func aModelWithoutATemplateNeedsAName() throws {
    let bare = try ModelFolder(path: fixturePath("models/gqa-untied-f16"))
    let line = DataLine(place: "a:7", object: try JSON(parsing: Array(conversation.utf8)))
    let row = try DataForm.promptCompletion.row(line)
    let error = #expect(throws: DataError.self) { try bare.template(.auto).text(of: row) }
    #expect(error?.description.hasPrefix("a:7: a conversation needs a chat template") == true)
    #expect(error?.description.contains("chatml") == true)
    #expect(try bare.template(.named("chatml")).text(of: row).isTemplated)
  }

  /// What trl.data_utils and the tokenizer of transformers make of the same conversations.
  @Test func conversationsAreTRLs() throws {
    let cases = try parseJSON(
      readFile(fixturePath("data/trl.json"), what: "fixture"), source: "trl.json")
    let rendered = try #require(cases["rendered"]?.elements)
    #expect(rendered.count == 7)
    let encoder = model.encoder(limits: nil)
    for item in rendered {
      let line = DataLine(place: "a:7", object: try #require(item["row"]))
      let row = try model.template(.auto).text(of: DataForm(recognizing: line).row(line))
      let encoded = encoder.unlimited(row)
      let keys =
        ["prompt"] + (row.responses.count == 2 ? ["chosen", "rejected"] : ["completion"])
      let texts = [row.prompt] + row.responses.map(\.text)
      for (key, (text, ids)) in zip(keys, zip(texts, [encoded.prompt] + encoded.responses)) {
        #expect(text == item["texts"]?[key]?.string)
        let expected = item["ids"]?[key]?.elements?.compactMap(\.integer)
        #expect(ids.map { Int($0) } == expected)
      }
    }
  }
}
