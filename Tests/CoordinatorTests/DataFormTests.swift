import JSONText
import Testing
import Tokenizer

@testable import Coordinator

@Suite struct DataFormTests {
  private func line(_ text: String) throws -> DataLine {
    DataLine(place: "a:1", object: try JSON(parsing: Array(text.utf8)))
  }

  private func row(_ text: String, as form: DataForm? = nil) throws -> DataRow {
    let line = try line(text)
    return try (form ?? DataForm(recognizing: line)).row(line)
  }

  private func refusal(_ text: String, as form: DataForm? = nil) -> String {
    do {
      _ = try row(text, as: form)
      return "taken"
    } catch { return "\(error)" }
  }

  /// The row's texts as one JSON text.
  private func texts(_ row: DataRow) -> String {
    JSON.array(([row.prompt] + row.responses).map(\.json)).text
  }

  @Test(arguments: [
    (#"{"prompt": "p", "chosen": "c", "rejected": "r", "id": 3}"#, DataForm.preference),
    (#"{"rejected": "ab", "chosen": "ac"}"#, .preference),
    (#"{"prompt": "p", "completion": "c"}"#, .promptCompletion),
    (#"{"messages": []}"#, .messages), (#"{"prompt": "p", "x": 1}"#, .promptOnly),
    (
      #"{"prompt": "p", "response_0": "", "response_1": "", "better_response_id": 0, "safer_response_id": 1}"#,
      .safeRLHF
    ),
    (
      #"{"prompt": "p", "response_0": "", "response_1": "", "safer_response_id": 1}"#,
      .safeRLHFSafer
    ),
    (#"{"instruction": "i", "completions": []}"#, .ultraFeedback),
  ])
  func formsAreRecognised(text: String, form: DataForm) throws {
    #expect(try DataForm(recognizing: line(text)) == form)
  }

  @Test(arguments: [#"{"x": 1, "y": 2}"#, #"{"text": "t"}"#, "{}"])
  func unknownForms(text: String) throws {
    let sentence = refusal(text)
    #expect(sentence.hasPrefix("a:1: a data set of unknown form: "))
    for form in DataForm.allCases { #expect(sentence.contains(form.rawValue)) }
    if text.contains("x") { #expect(sentence.contains("keys")) }
  }

  @Test(
    arguments: [
      (
        #"{"prompt": "p", "chosen": "c", "rejected": "r", "score_chosen": 2, "score_rejected": 0.5}"#,
        #"["p", "c", "r"]"#, nil
      ),
      (
        #"{"prompt": "p", "chosen": "c", "rejected": "r", "margin": -1, "score_chosen": 2, "score_rejected": 1}"#,
        #"["p", "c", "r"]"#, -1
      ),
      (
        #"{"prompt": "p", "response_0": "a", "response_1": "b", "better_response_id": 1, "safer_response_id": 0}"#,
        #"["p", "b", "a"]"#, nil
      ),
      (
        #"{"instruction": "i", "completions": [{"response": "a", "overall_score": 7}, {"response": "b", "overall_score": 8.5}, {"response": "c", "overall_score": 2}, {"response": "d", "overall_score": 2}]}"#,
        #"["i", "b", "c"]"#, nil
      ),
      (
        #"{"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}"#,
        #"[[{"role": "user", "content": "u"}], [{"role": "assistant", "content": "a"}]]"#, nil
      ),
      (
        #"{"messages": [{"role": "user", "content": "u"}]}"#,
        #"[[{"role": "user", "content": "u"}]]"#, nil
      ),
    ] as [(String, String, Double?)])
  func rows(text: String, expected: String, margin: Double?) throws {
    let row = try row(text)
    #expect(texts(row) == expected)
    #expect(row.margin == margin && !row.isTie)
  }

  @Test func theSaferResponse() throws {
    let text =
      #"{"prompt": "p", "response_0": "a", "response_1": "b", "better_response_id": 1, "safer_response_id": 0}"#
    #expect(texts(try row(text, as: .safeRLHFSafer)) == #"["p", "a", "b"]"#)
  }

  @Test(arguments: [
    "[]", #"[{"response": "a", "overall_score": 3}]"#,
    #"[{"response": "a", "overall_score": 3}, {"response": "b", "overall_score": 3}]"#,
  ])
  func ties(completions: String) throws {
    #expect(try row(#"{"instruction": "i", "completions": \#(completions)}"#).isTie)
  }

  @Test(arguments: [
    (#"{"prompt": "p", "chosen": "c"}"#, "the key \"rejected\" is missing"),
    (#"{"prompt": "p", "chosen": 3, "rejected": "r"}"#, "\"chosen\" must be a string or a list"),
    (#"{"prompt": 3, "chosen": "c", "rejected": "r"}"#, "found an integer"),
    (#"{"prompt": "p", "chosen": [], "rejected": "r"}"#, "at least one, found none"),
    (
      #"{"prompt": "p", "chosen": [{"role": "user", "content": "x"}], "rejected": "r"}"#,
      "\"chosen\" is a conversation, but \"rejected\" is a string"
    ),
    (
      #"{"prompt": [{"role": "user", "content": "x"}], "chosen": "c", "rejected": "r"}"#,
      "\"prompt\" is a conversation, but \"chosen\" is a string"
    ),
    (#"{"chosen": "abc", "rejected": "xbc"}"#, "do not begin alike"),
    (#"{"chosen": " a", "rejected": " b"}"#, "do not begin alike"),
    (#"{"chosen": "", "rejected": "b"}"#, "do not begin alike"),
    (
      #"{"prompt": "p", "chosen": "c", "rejected": "r", "margin": "2"}"#,
      "\"margin\" must be a number, found a string"
    ),
    (#"{"messages": [{"role": "user"}]}"#, "message 1 of \"messages\" must have a \"content\""),
    (#"{"messages": [{"role": "user", "content": [1]}]}"#, "found an array"),
    (#"{"messages": ["x"]}"#, "must have a \"role\" that is a string, found a string"),
    (#"{"messages": [{"role": "assistant", "content": "x"}]}"#, "the assistant's message only"),
    (#"{"prompt": "p", "completion": "c", "label": true}"#, "unpaired preference"),
    (
      #"{"prompt": "p", "response_0": "a", "response_1": "b", "better_response_id": 2}"#,
      "must be 0 or 1, found 2"
    ),
    (
      #"{"instruction": "i", "completions": [{"response": "a"}]}"#,
      "completion 1 must have a \"response\""
    ),
  ])
  func refusals(text: String, part: String) {
    let sentence = refusal(text)
    #expect(sentence.hasPrefix("a:1: ") && sentence.contains(part), "\(sentence)")
  }

  /// What trl.data_utils makes of the same rows.
  @Test func promptsAreTRLs() throws {
    let cases = try parseJSON(
      readFile(fixturePath("data/trl.json"), what: "fixture"), source: "trl.json")
    let extracted = try #require(cases["extracted"]?.elements)
    #expect(extracted.count == 14)
    for item in extracted {
      let (given, expected) = (try #require(item["row"]), try #require(item["expected"]))
      let row = try DataForm.preference.row(DataLine(place: "a:1", object: given))
      for (text, key) in zip([row.prompt] + row.responses, ["prompt", "chosen", "rejected"]) {
        let wanted = try #require(expected[key])
        #expect(text.json.text.utf8.elementsEqual(wanted.text.utf8), "\(given.text)")
      }
    }
  }
}
