import JSONText
import Testing

@testable import Tokenizer

/// Conversations as text against transformers (chat.json).
@Suite struct ChatFormatTests {
  @Test func textsEqualTransformers() throws {
    var compared = 0
    for set in try #require(Fixtures.json("chat.json")["sets"]?.elements) {
      let bos = try #require(set["bos"]?.string)
      let eos = try #require(set["eos"]?.string)
      let format: ChatFormat
      if let name = set["format"]?.string {
        format = try #require(ChatFormat.named(name, bosToken: bos, eosToken: eos))
        #expect(format.name == name)
      } else {
        let template = try #require(set["template"]?.string)
        format = try ChatFormat(
          recognizing: template, bosToken: bos, eosToken: eos, source: "tokenizer_config.json")
      }
      for test in try #require(set["cases"]?.elements) {
        let prompt = messages(test["messages"])
        let text = try? format.prompt(prompt)
        expectSame(text, test["prompt"]?.string, test)
        let answer = try? format.completion(messages(test["following"]), after: prompt)
        expectSame(answer, test["answer"]?.string, test)
        compared += text == nil ? 0 : 1
      }
    }
    #expect(compared > 180)
  }

  private func messages(_ value: JSON?) -> [ChatMessage] {
    (value?.elements ?? []).compactMap { pair in
      guard let role = pair.elements?.first?.string, let content = pair.elements?.last?.string
      else { return nil }
      return ChatMessage(role: role, content: content)
    }
  }

  private func expectSame(_ found: String?, _ expected: String?, _ test: JSON) {
    #expect(
      found.map { Array($0.utf8) } == expected.map { Array($0.utf8) },
      "\(test.text): \(found.debugDescription)")
  }

  @Test func aRefusalNamesTheMessage() throws {
    let user = ChatMessage(role: "user", content: "Hello")
    let answer = ChatMessage(role: "assistant", content: "Hi")
    let system = ChatMessage(role: "system", content: "Be brief.")
    let mistral = try #require(ChatFormat.named("mistral", bosToken: "<s>", eosToken: "</s>"))
    expect("message 1 of 2", "only the roles user and assistant", "system, user") {
      try mistral.prompt([system, user])
    }
    expect("message 4 of 4", "alternate") { try mistral.prompt([user, answer, user, user]) }
    expect("message 3 of 3", "the user first") {
      try mistral.completion([answer, answer], after: [user])
    }
    let phi = try #require(ChatFormat.named("phi3", bosToken: "", eosToken: "<|endoftext|>"))
    expect("message 2 of 2", "no place for the role \"tool\"") {
      try phi.prompt([user, ChatMessage(role: "tool", content: "2")])
    }
    expect("message 2 of the prompt is the assistant's") { try phi.prompt([user, answer]) }
    expect("role \"user\"", "message 2", "\"assistant\"") {
      try phi.completion([user], after: [user])
    }
    expect("found none") { try phi.prompt([]) }
    expect("found none") { try phi.completion([], after: [user]) }
    let other = try ChatFormat(
      recognizing: "{{ 'A' if add_generation_prompt else 'B' }}{{ messages[0].content }}"
        + "{% if messages[1] is defined %}{{ messages[1].content }}{% endif %}",
      bosToken: "", eosToken: "", source: "tokenizer_config.json")
    expect("tokenizer_config.json", "does not begin with its prompt's text") {
      try other.completion([answer], after: [user])
    }
  }

  private func expect(
    _ words: String..., location: SourceLocation = #_sourceLocation,
    of text: () throws -> String
  ) {
    let error = #expect(throws: TokenizerError.self, sourceLocation: location) { try text() }
    for word in words {
      #expect(
        error?.description.contains(word) == true, "\(error?.description ?? "")",
        sourceLocation: location)
    }
  }

  @Test(arguments: [
    ("{% macro m() %}{% endmacro %}", "the tag macro"),
    ("{{ messages | sort }}", "the filter sort"),
    ("{{ messages[0].content.title() }}", "the method title"),
    ("{{ lipsum() }}", "the function lipsum"),
    ("{{ 1 is divisibleby(2) }}", "the test divisibleby"),
    ("{{ strftime_now('%Y') }}", "today's date"),
    ("{% if strftime_now is defined %}{% endif %}", "today's date"),
    ("{{ raise_exception('never') }}", "the template says: never"),
    ("{{ x.y if add_generation_prompt }}", "x is undefined"), ("{{ messages[0]", "no end"),
    ("{% if true %}x", "no elif"), ("{# x", "a comment has no end"),
    (
      "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}"
        + "{% endfor %}", "too long"
    ),
    (
      "{% set n = namespace(x='aa') %}{% for i in range(9) %}{% set n.x = n.x.replace('a', n.x) %}"
        + "{% endfor %}", "long"
    ),
    ("{{ 'x }}", "a string has no end"), ("{{ 1 + 'a' }}", "an integer + a string"),
    ("{{ messages[0].items }}", "the member items"), ("{{ 'a'._b }}", "the member _b"),
    ("{% for m in messages %}{{ loop.changed }}{% endfor %}", "the member changed"),
    ("{% for m in messages %}{{ loop is mapping }}{% endfor %}", "the test mapping"),
    ("{{ 'a' | trim.x }}", "}} is missing"),
    ("{{ ['a'] | reject('equalto') }}", "the test equalto"),
    ("{{ x.y }}", "x is undefined"), ("{{ ? }}", "the character"), ("{{ 1.5 }}", "no integer"),
    ("{{ 9223372036854775807 + 1 }}", "an integer + an integer"), ("{{ 1 // 0 }}", "//"),
    ("{{ 99999999999999999999 }}", "no integer"), ("{{ range(0, 99999999) }}", "a range"),
    (
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "too long"
    ),
    ("{% raw %}{% endraw %}", "the tag raw"), ("{{ messages }}", "a list is written"),
    ("{% set x = {} %}{% set x.y = 1 %}", "no namespace"), ("{{ 'a'[1:2:0] }}", "a slice"),
    ("{{ '\\N{DASH}' }}", "the escape"), ("{{ (1, 2) }}", "a tuple"), ("}} {% end", "no end"),
    (String(repeating: "{% if true %}", count: 500), "nested too deeply"),
    (
      "{{ " + String(repeating: "(", count: 200) + "1" + String(repeating: ")", count: 200) + "}}",
      "nested"
    ),
    (
      "{{ " + String(repeating: "[", count: 200) + String(repeating: "]", count: 200) + "}}",
      "nested"
    ),
    ("{{ " + String(repeating: "not ", count: 300) + "1 }}", "nested too deeply"),
    ("{{ 1" + String(repeating: " + 1", count: 50_000) + " }}", "a tag this long"),
  ])
  func whatCannotBeFollowedIsRefused(template: String, words: String) {
    let error = #expect(throws: TokenizerError.self) {
      try ChatFormat(recognizing: template, bosToken: "", eosToken: "", source: "model/x.json")
    }
    let sentence = error?.description ?? ""
    for word in [words, "model/x.json", "data.template", "--template", "chatml | qwen | llama3"] {
      #expect(sentence.contains(word), "\(sentence)")
    }
  }

  @Test func namesAreKnownAndOthersAreNot() {
    for name in ChatFormat.names {
      let format = ChatFormat.named(name, bosToken: "", eosToken: "")
      #expect(format?.name == name)
      #expect(format == ChatFormat.named(name, bosToken: "", eosToken: ""))
      #expect(format != ChatFormat.named(name, bosToken: "", eosToken: "x"))
    }
    #expect(ChatFormat.named("Chatml", bosToken: "", eosToken: "") == nil)
  }

  /// A namespace that an expression makes has its members and no others.
  @Test func aNamespaceInAnExpressionIsLookedInto() throws {
    func prompt(_ template: String) throws -> String {
      try ChatFormat(recognizing: template, bosToken: "", eosToken: "", source: "t.json").prompt([
        ChatMessage(role: "user", content: "u")
      ])
    }
    #expect(throws: TokenizerError.self) { try prompt("{{ namespace().x.y }}") }
    #expect(throws: TokenizerError.self) { try prompt("{{ namespace()['x']['y'] }}") }
    #expect(throws: TokenizerError.self) { try prompt("{{ namespace(a=1).b.c }}") }
  }
}
