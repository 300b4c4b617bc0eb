import Foundation
import Testing

@testable import Coordinator

@Suite struct DataLineTests {
  private func read(_ text: String) throws(DataError) -> [DataLine] {
    try DataLine.read(Array(text.utf8), name: "a.jsonl")
  }

  private func refusal<Row>(_ text: String, _ make: (DataLine) throws -> Row) -> String {
    do {
      for line in try read(text) { _ = try make(line) }
      return "taken"
    } catch { return "\(error)" }
  }

  @Test func rowsAreReadInOrder() throws {
    let text =
      "\u{FEFF}{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"r\", \"id\": 3}\r\n"
      + "\n \t\r\n{\"rejected\": \"é\", \"chosen\": \"e\u{301}\", \"prompt\": \"\"}"
    let lines = try read(text)
    #expect(lines.map(\.place) == ["a.jsonl:1", "a.jsonl:4"])
    let rows = try lines.map { try PreferenceRow($0) }
    #expect(rows[0] == PreferenceRow(prompt: "p", chosen: "c", rejected: "r"))
    #expect(Array(rows[1].chosen.utf8) == [0x65, 0xCC, 0x81])
    #expect(try lines.map { try CompletionRow($0).completion }.first == "c")
  }

  @Test(arguments: [
    ("{\"prompt\": \"p\", \"chosen\": \"c\"}", "a.jsonl:1: the key \"rejected\" is missing"),
    ("{\"prompt\": \"p\", \"rejected\": \"c\"}", "a.jsonl:1: the key \"chosen\" is missing"),
    ("{\"x\": \"p\"}", "a.jsonl:1: the key \"prompt\" is missing"),
    (
      "\n{\"chosen\": \"p\", \"rejected\": \"c\"}",
      "a.jsonl:2: a row without a prompt of its own is not implemented in this version: "
        + "add a \"prompt\" key"
    ),
    (
      "{\"prompt\": [{\"role\": \"user\", \"content\": \"x\"}], \"chosen\": [], \"rejected\": []}",
      "a.jsonl:1: \"prompt\" is a list: conversations are not implemented in this version; "
        + "give the text as one string"
    ),
    (
      "{\"prompt\": \"p\", \"chosen\": [], \"rejected\": []}",
      "a.jsonl:1: \"chosen\" is a list: conversations are not implemented in this version; "
        + "give the text as one string"
    ),
    (
      "{\"prompt\": 3, \"chosen\": \"c\", \"rejected\": \"r\"}",
      "a.jsonl:1: \"prompt\" must be a string, found an integer"
    ),
    (
      "{\"prompt\": null, \"chosen\": \"c\", \"rejected\": \"r\"}",
      "a.jsonl:1: \"prompt\" must be a string, found null"
    ),
    (
      "[1]",
      "a.jsonl:1: a line must be a JSON object, found an array; write one object a line, not a list of rows"
    ),
    ("\"x\"", "a.jsonl:1: a line must be a JSON object, found a string"),
    ("", "a.jsonl: no usable row: the file is empty; give one JSON object a line"),
    ("\n \r\n\t\n", "a.jsonl: no usable row: the file is empty; give one JSON object a line"),
    ("\u{FEFF}", "a.jsonl: no usable row: the file is empty; give one JSON object a line"),
  ])
  func preferenceRefusals(text: String, sentence: String) {
    #expect(refusal(text) { try PreferenceRow($0) } == sentence)
  }

  @Test(arguments: [
    "{", "{\"prompt\": \"p\"", "{\"a\": 1} {\"b\": 2}", "{'a': 1}", "{\"a\": 1, \"a\": 2}",
    "{\"a\": \"\\ud800\"}", "nonsense", "{\n}",
  ])
  func brokenJSON(text: String) {
    let sentence = refusal(text) { $0 }
    #expect(sentence.hasPrefix("a.jsonl:1: not valid JSON at column"), "\(sentence)")
    #expect(sentence.hasSuffix("; each line must be one whole JSON object"))
  }

  @Test func linesThatAreNotUTF8() {
    let bytes: [UInt8] = Array("{\"a\": \"".utf8) + [0xC3, 0x28] + Array("\"}".utf8)
    #expect(throws: DataError.self) { try DataLine.read(bytes, name: "a") }
    do throws(DataError) {
      _ = try DataLine.read([0x7B, 0x7D, 0x0A] + bytes, name: "a")
    } catch {
      #expect(error.description == "a:2: the line is not UTF-8 text; save the file as UTF-8")
    }
  }

  @Test func completionRows() throws {
    let lines = try read(
      "{\"prompt\": \"p\", \"completion\": \"x\", \"chosen\": \"y\"}\n"
        + "{\"prompt\": \"p\", \"chosen\": \"y\", \"rejected\": \"z\"}")
    #expect(try lines.map { try CompletionRow($0).completion } == ["x", "y"])
    #expect(
      refusal("{\"prompt\": \"p\"}") { try CompletionRow($0) }
        == "a.jsonl:1: the key \"completion\" is missing")
    #expect(
      refusal("{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": 3}") { try CompletionRow($0) }
        == "a.jsonl:1: \"rejected\" must be a string, found an integer")
    #expect(
      refusal("{\"messages\": []}") { try CompletionRow($0) }
        .contains("conversations are not implemented"))
  }

  @Test func promptRowsTakeAnyLineWithAPrompt() throws {
    let lines = try read("{\"prompt\": \"p\", \"chosen\": 3, \"completions\": [1]}")
    #expect(try lines.map { try PromptRow($0).prompt } == ["p"])
    #expect(refusal("{\"prompt\": []}") { try PromptRow($0) }.contains("conversations"))
  }

  @Test func files() throws {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("data-lines-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("a.jsonl").path
    try Data("{\"prompt\": \"p\"}\n".utf8).write(to: URL(fileURLWithPath: path))
    #expect(try PromptRow.read(path: path) == [PromptRow(prompt: "p")])
    #expect(throws: DataError.self) { try PreferenceRow.read(path: path) }
    #expect(throws: DataError.self) { try CompletionRow.read(path: path) }
    for (bad, reason) in [(folder.path, "this is a folder"), (path + "x", "no such data file")] {
      do throws(DataError) {
        _ = try DataLine.read(path: bad)
        Issue.record("read \(bad)")
      } catch {
        #expect(error.description.hasPrefix("\(bad): "))
        #expect(error.description.contains(reason))
      }
    }
  }
}
