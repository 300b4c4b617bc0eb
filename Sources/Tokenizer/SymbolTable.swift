/// The symbols that merging begins with: the ids of a word's bytes, or of its characters.
struct SymbolTable: Sendable {
  private let tokens: TokenTable
  private let isByteLevel: Bool
  /// The id of the token of each byte, -1 where there is none; empty where bytes have no tokens.
  private let fallback: [Int32]
  private let unknown: Int32?
  /// Whether unknown characters in a row are one unknown token.
  private let fusesUnknown: Bool
  /// The id of each byte, or of each character of one byte, -1 for those that have no token.
  private var idOfByte: [Int32] = []

  /// The symbols of a model.
  ///
  /// - Parameters:
  ///   - tokens: the model's vocabulary, without added tokens.
  ///   - isByteLevel: whether symbols are bytes in the byte alphabet's spelling.
  ///   - hasFallback: whether a character without a token becomes its bytes' tokens `<0x00>` … .
  ///   - unknown: the id of the token for what has none.
  ///   - fusesUnknown: whether those in a row are one token.
  init(
    _ tokens: TokenTable, isByteLevel: Bool, hasFallback: Bool, unknown: Int32?, fusesUnknown: Bool
  ) {
    self.tokens = tokens
    self.isByteLevel = isByteLevel
    self.unknown = unknown
    self.fusesUnknown = fusesUnknown
    fallback =
      !hasFallback
      ? []
      : (UInt8.min...UInt8.max).map { byte in
        tokens.id(of: SymbolTable.fallbackToken(of: byte)) ?? -1
      }
    for byte in UInt8.min...UInt8.max {
      idOfByte.append(tokens.id(of: spelling(of: CollectionOfOne(byte))) ?? -1)
    }
  }

  /// The token that stands for a byte in SentencePiece vocabularies.
  private static func fallbackToken(of byte: UInt8) -> [UInt8] {
    let digits = String(byte, radix: 16, uppercase: true)
    return Array("<0x\(byte < 16 ? "0" : "")\(digits)>".utf8)
  }

  private func spelling(of bytes: some Collection<UInt8>) -> [UInt8] {
    isByteLevel ? ByteAlphabet.standard.spell(bytes) : Array(bytes)
  }

  /// The symbols whose spelling is not one character.
  var longSymbols: [Int32] { fallback.filter { $0 >= 0 } + (unknown.map { [$0] } ?? []) }

  /// Whether every text has symbols without the unknown token.
  var isComplete: Bool {
    !fallback.contains(-1) && !fallback.isEmpty || isByteLevel && !idOfByte.contains(-1)
  }

  /// The symbols of a word.
  ///
  /// - Parameters:
  ///   - bytes: valid UTF-8.
  ///   - word: the word in it.
  ///   - symbols: where the ids go, instead of what was there.
  func symbols(of bytes: [UInt8], _ word: Range<Int>, into symbols: inout [Int32]) {
    symbols.removeAll(keepingCapacity: true)
    symbols.reserveCapacity(word.count)
    var isUnknownWaiting = false
    var index = word.lowerBound
    while index < word.upperBound {
      let byte = bytes[index]
      var length = 1
      var id = idOfByte[Int(byte)]
      if byte >= 0x80, !isByteLevel {
        length = decodeScalar(bytes, at: index).length
        id = tokens.id(of: bytes[index..<index + length]) ?? -1
      }
      if id < 0 {
        append(bytes[index..<index + length], &isUnknownWaiting, to: &symbols)
      } else {
        if isUnknownWaiting, let unknown { symbols.append(unknown) }
        isUnknownWaiting = false
        symbols.append(id)
      }
      index += length
    }
    if isUnknownWaiting, let unknown { symbols.append(unknown) }
  }

  /// Appends what a character without a token becomes.
  ///
  /// As Hugging Face does it, unknown ones wait until a character that has a token follows, and the
  /// tokens of bytes go before them.
  private func append(
    _ character: ArraySlice<UInt8>, _ isUnknownWaiting: inout Bool, to symbols: inout [Int32]
  ) {
    if !fallback.isEmpty {
      let ids = spelling(of: character).map { fallback[Int($0)] }
      if !ids.contains(-1) {
        symbols += ids
        return
      }
    }
    guard let unknown else { return }
    if isUnknownWaiting, !fusesUnknown { symbols.append(unknown) }
    isUnknownWaiting = true
  }
}
