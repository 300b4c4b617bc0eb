import JSONText

/// The tokenizer.json of a training, with the components of the Qwen2 family.
enum TrainedFile {
  /// The file's value; special tokens that are tokens already keep their ids.
  static func json(_ training: Training, specialTokens: [String]) -> JSON {
    var nextID = training.tokens.count
    var added: [(id: Int, token: JSON)] = []
    for content in specialTokens {
      var id = nextID
      if let known = training.ids[UTF8Bytes(content)] { id = Int(known) } else { nextID += 1 }
      added.append(
        (
          id,
          [
            "id": .integer(Int64(id)), "content": .string(content), "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true,
          ]
        ))
    }
    added.sort { $0.id < $1.id }
    return [
      "version": "1.0",
      "truncation": .null,
      "padding": .null,
      "added_tokens": .array(added.map(\.token)),
      "normalizer": ["type": "NFC"],
      "pre_tokenizer": [
        "type": "Sequence",
        "pretokenizers": [
          [
            "type": "Split", "pattern": ["Regex": .string(SplitPattern.qwen2Expression)],
            "behavior": "Isolated", "invert": false,
          ],
          byteLevel,
        ],
      ],
      "post_processor": byteLevel,
      "decoder": byteLevel,
      "model": model(training),
    ]
  }

  private static var byteLevel: JSON {
    [
      "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false,
    ]
  }

  private static func model(_ training: Training) -> JSON {
    let tokens = training.tokens.map { String(decoding: $0, as: UTF8.self) }
    let vocabulary = tokens.enumerated().map { id, token in
      JSON.Member(key: token, value: .integer(Int64(id)))
    }
    let merges = training.merges.map { pair -> JSON in
      [.string(tokens[Int(pair.left)]), .string(tokens[Int(pair.right)])]
    }
    return [
      "type": "BPE",
      "dropout": .null,
      "unk_token": .null,
      "continuing_subword_prefix": "",
      "end_of_word_suffix": "",
      "fuse_unk": false,
      "byte_fallback": false,
      "ignore_merges": false,
      "vocab": .object(vocabulary),
      "merges": .array(merges),
    ]
  }
}
