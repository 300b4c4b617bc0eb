import JSONText

/// Trains byte-level byte pair encoding with the Qwen2 family's components.
///
/// Each step merges the pair of neighbouring tokens that occurs most often in the words of all
/// texts; among equally frequent ones the pair with the smallest left id, then the smallest right
/// id. The result depends on nothing but the arguments.
public enum BPETrainer {
  /// Trains a vocabulary and returns a whole `tokenizer.json`.
  ///
  /// - Parameters:
  ///   - texts: the training texts, brought to form C and cut into words by the Qwen2 pattern.
  ///   - vocabularySize: how many tokens to make, special ones included; fewer if the texts have no
  ///     more pairs, never fewer than the 256 bytes and the special tokens.
  ///   - specialTokens: added after the others, in this order; empty and repeated ones are left out.
  /// - Returns: the value of a file that Hugging Face tokenizers and `BPETokenizer` read.
  public static func train(texts: [String], vocabularySize: Int, specialTokens: [String]) -> JSON {
    var seen: Set<UTF8Bytes> = []
    let specials = specialTokens.filter { !$0.utf8.isEmpty && seen.insert(UTF8Bytes($0)).inserted }
    let alphabet = ByteAlphabet.standard
    var training = Training(texts: texts, alphabet: alphabet)
    training.run(until: max(0, vocabularySize) - specials.count)
    return TrainedFile.json(training, specialTokens: specials)
  }
}

/// The state of a training: words as token ids, pair counts, and the tokens so far.
struct Training {
  /// Tokens by id, in the byte alphabet's spelling.
  private(set) var tokens: [[UInt8]]
  /// The ids of the tokens.
  private(set) var ids: [UTF8Bytes: Int32] = [:]
  /// The merges in order.
  private(set) var merges: [(left: Int32, right: Int32)] = []

  private var words: [[Int32]] = []
  private var wordCounts: [Int] = []
  private var pairCounts: [UInt64: Int] = [:]
  /// The words a pair was ever seen in, by pair.
  private var pairWords: [UInt64: [Int]] = [:]
  private var candidates = Heap<Candidate>()
  private var mergedPairs: Set<UInt64> = []

  /// A pair at the time it was entered: frequent ones first, then by ids.
  private struct Candidate: Comparable, Sendable {
    let count: Int
    let pair: UInt64

    static func < (left: Candidate, right: Candidate) -> Bool {
      left.count != right.count ? left.count > right.count : left.pair < right.pair
    }
  }

  /// Cuts the texts into words and counts their pairs.
  init(texts: [String], alphabet: ByteAlphabet) {
    // Ids in the order of the alphabet's code points, as in GPT-2's and Qwen2's vocabularies.
    let bytes = (UInt8.min...UInt8.max).sorted {
      alphabet.scalars[Int($0)].value < alphabet.scalars[Int($1)].value
    }
    tokens = bytes.map { alphabet.spell(CollectionOfOne($0)) }
    var idOfByte = [Int32](repeating: 0, count: 256)
    for (id, byte) in bytes.enumerated() {
      idOfByte[Int(byte)] = Int32(id)
      ids[UTF8Bytes(tokens[id])] = Int32(id)
    }
    var indexOfWord: [UTF8Bytes: Int] = [:]
    for text in texts {
      let given = Array(text.utf8)
      let normalized = Normalization.composed(given) ?? given
      var start = 0
      while start < normalized.count {
        let end = SplitPattern.qwen2(digits: 1)
          .wordEnd(in: normalized, from: start, to: normalized.count)
        let word = UTF8Bytes(Array(normalized[start..<end]))
        if let index = indexOfWord[word] {
          wordCounts[index] += 1
        } else {
          indexOfWord[word] = words.count
          words.append(word.bytes.map { idOfByte[Int($0)] })
          wordCounts.append(1)
        }
        start = end
      }
    }
    var pairs: [UInt64] = []
    for index in words.indices { pairs += count(wordAt: index, sign: 1) }
    enter(pairs)
  }

  /// Merges until there are as many tokens as asked for, or no pair is left.
  mutating func run(until tokenCount: Int) {
    while tokens.count < tokenCount, let candidate = candidates.popLeast() {
      let now = pairCounts[candidate.pair] ?? 0
      // A pair that grew was entered again; one that shrank is entered again here.
      if now != candidate.count {
        if now > 0, now < candidate.count { enter([candidate.pair]) }
        continue
      }
      merge(candidate.pair)
    }
  }

  /// Adds a word's pairs to the counts, or takes them away, and returns them.
  private mutating func count(wordAt index: Int, sign: Int) -> [UInt64] {
    let word = words[index]
    var pairs: [UInt64] = []
    for (left, right) in zip(word, word.dropFirst()) {
      let pair = pairKey(left, right)
      pairs.append(pair)
      pairCounts[pair, default: 0] += sign * wordCounts[index]
      if sign > 0, pairWords[pair]?.last != index { pairWords[pair, default: []].append(index) }
    }
    return pairs
  }

  private mutating func enter(_ pairs: [UInt64]) {
    for pair in pairs.sorted() {
      guard let count = pairCounts[pair], count > 0 else { continue }
      candidates.insert(Candidate(count: count, pair: pair))
    }
  }

  private mutating func merge(_ pair: UInt64) {
    let left = Int32(truncatingIfNeeded: pair >> 32)
    let right = Int32(truncatingIfNeeded: pair)
    // Different pairs can spell one token, which then has one id.
    let token = tokens[Int(left)] + tokens[Int(right)]
    let id = ids[UTF8Bytes(token)] ?? Int32(tokens.count)
    if id == Int32(tokens.count) {
      tokens.append(token)
      ids[UTF8Bytes(token)] = id
    }
    if mergedPairs.insert(pair).inserted { merges.append((left, right)) }
    var changed: Set<UInt64> = []
    for index in pairWords.removeValue(forKey: pair) ?? [] {
      let merged = Training.merging(words[index], left, right, into: id)
      guard merged.count < words[index].count else { continue }
      _ = count(wordAt: index, sign: -1)
      words[index] = merged
      changed.formUnion(count(wordAt: index, sign: 1))
    }
    enter(Array(changed))
  }

  private static func merging(_ word: [Int32], _ left: Int32, _ right: Int32, into id: Int32)
    -> [Int32]
  {
    var merged: [Int32] = []
    var index = 0
    while index < word.count {
      if word[index] == left, index + 1 < word.count, word[index + 1] == right {
        merged.append(id)
        index += 2
      } else {
        merged.append(word[index])
        index += 1
      }
    }
    return merged
  }
}
