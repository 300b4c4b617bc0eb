import Foundation
import JSONText
import Testing

@testable import Coordinator

@Suite struct DataLineTests {
  private func read(_ bytes: [UInt8]) throws(DataError) -> [DataLine] {
    let lines = DataLines(bytes, name: "a.jsonl")
    var result: [DataLine] = []
    while let line = try lines.next() { result.append(line) }
    return result
  }

  private func refusal(_ text: String) -> String {
    do throws(DataError) {
      _ = try read(Array(text.utf8))
      return "taken"
    } catch { return error.description }
  }

  @Test func linesAreReadInOrder() throws {
    let text =
      "\u{FEFF}{\"prompt\": \"p\"}\r\n\n \t\r\n{\"prompt\": \"e\u{301}\"}"
    let lines = try read(Array(text.utf8))
    #expect(lines.map(\.place) == ["a.jsonl:1", "a.jsonl:4"])
    #expect(lines[1].object["prompt"]?.string.map { Array($0.utf8) } == [0x65, 0xCC, 0x81])
  }

  /// Lines longer than what is read at once, ends at every place of a piece.
  @Test func longLines() throws {
    for length in [1, 262_130, 262_144, 262_145, 600_000] {
      let long = String(repeating: "x", count: length)
      let text = "{\"a\": \"\(long)\"}\n{\"a\": 1}\n"
      let lines = try read(Array((text + text).utf8))
      #expect(lines.count == 4 && lines[2].object["a"]?.string?.utf8.count == length)
      #expect(lines.map(\.place) == (1...4).map { "a.jsonl:\($0)" })
    }
  }

  @Test(arguments: [
    (
      "[1]",
      "a.jsonl:1: a line must be a JSON object, found an array; write one object a line, not a list of rows"
    ),
    ("\"x\"", "a.jsonl:1: a line must be a JSON object, found a string"),
    ("", "a.jsonl: no usable row: the file is empty; give one JSON object a line"),
    ("\n \r\n\t\n", "a.jsonl: no usable row: the file is empty; give one JSON object a line"),
    ("\u{FEFF}", "a.jsonl: no usable row: the file is empty; give one JSON object a line"),
  ])
  func refusals(text: String, sentence: String) {
    #expect(refusal(text) == sentence)
  }

  @Test(arguments: [
    "{", "{\"prompt\": \"p\"", "{\"a\": 1} {\"b\": 2}", "{'a': 1}", "{\"a\": 1, \"a\": 2}",
    "{\"a\": \"\\ud800\"}", "nonsense", "{\n}",
  ])
  func brokenJSON(text: String) {
    let sentence = refusal(text)
    #expect(sentence.hasPrefix("a.jsonl:1: not valid JSON at column"), "\(sentence)")
    #expect(sentence.hasSuffix("; each line must be one whole JSON object"))
  }

  @Test func linesThatAreNotUTF8() {
    let bytes: [UInt8] = Array("{\"a\": \"".utf8) + [0xC3, 0x28] + Array("\"}".utf8)
    do throws(DataError) {
      _ = try read([0x7B, 0x7D, 0x0A] + bytes)
      Issue.record("taken")
    } catch {
      #expect(error.description == "a.jsonl:2: the line is not UTF-8 text; save the file as UTF-8")
    }
  }

  @Test func files() throws {
    try withDataFolder { folder in
      let path = try folder.write("a.jsonl", "{\"prompt\": \"p\"}\n")
      #expect(try DataLine.read(path: path).count == 1)
      for (bad, reason) in [(folder.path, "this is a folder"), (path + "x", "no such data file")] {
        let error = #expect(throws: DataError.self) { try DataLine.read(path: bad) }
        #expect(error?.description.hasPrefix("\(bad): ") == true)
        #expect(error?.description.contains(reason) == true)
      }
    }
  }
}
