import Testing

@testable import Coordinator

@Suite struct TokenRecordTests {
  private let record = TokenRecord(
    prompt: [1, 2], chosen: [3], rejected: [.max, -1], promptText: "e\u{301}\0", chosenText: "ü",
    margin: -0.1)

  @Test func bytesComeBack() {
    for margin in [nil, 0, -0.1, 1e300] {
      var record = record
      record.margin = margin
      #expect(TokenRecord(record.bytes) == record)
      #expect(TokenRecord(record.bytes)?.promptText.utf8.elementsEqual("e\u{301}\0".utf8) == true)
    }
    let empty = TokenRecord(prompt: [], promptText: "")
    #expect(TokenRecord(empty.bytes) == empty)
  }

  @Test func otherBytesAreNoRecord() {
    let bytes = record.bytes
    for count in 0..<bytes.count { #expect(TokenRecord(Array(bytes[..<count])) == nil) }
    #expect(TokenRecord(bytes + [0]) == nil)
    var lying = bytes
    lying[3] = 0xFF
    #expect(TokenRecord(lying) == nil)
  }
}
