import JSONText
import Model
import Tensor
import Testing

/// A `config.json` as Qwen1.5-0.5B has it, with members replaced, added, or (nil) removed.
private func configuration(
  _ changes: [(String, String?)] = []
) throws -> DecoderConfiguration {
  var members = [
    ("architectures", "[\"Qwen2ForCausalLM\"]"), ("attention_dropout", "0.0"),
    ("bos_token_id", "151643"), ("eos_token_id", "151643"), ("hidden_act", "\"silu\""),
    ("hidden_size", "1024"), ("initializer_range", "0.02"), ("intermediate_size", "2816"),
    ("max_position_embeddings", "32768"), ("max_window_layers", "21"),
    ("model_type", "\"qwen2\""), ("num_attention_heads", "16"), ("num_hidden_layers", "24"),
    ("num_key_value_heads", "16"), ("rms_norm_eps", "1e-06"), ("rope_theta", "1000000.0"),
    ("sliding_window", "32768"), ("tie_word_embeddings", "true"), ("torch_dtype", "\"bfloat16\""),
    ("transformers_version", "\"4.37.0\""), ("use_cache", "true"),
    ("use_sliding_window", "false"), ("vocab_size", "151936"),
  ]
  for (key, value) in changes {
    members.removeAll { $0.0 == key }
    if let value { members.append((key, value)) }
  }
  let text = members.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ",\n ")
  return try DecoderConfiguration(
    json: JSON(parsing: Array("{\(text)}".utf8)), source: "folder/config.json")
}

/// The sentence with which a changed configuration is refused.
private func refusal(
  _ changes: [(String, String?)], location: SourceLocation = #_sourceLocation
) throws -> String {
  do {
    _ = try configuration(changes)
    Issue.record("\(changes) was accepted", sourceLocation: location)
    return ""
  } catch let error as ModelError {
    return error.description
  }
}

@Suite struct DecoderConfigurationTests {
  @Test func readsTheOldForm() throws {
    let found = try configuration()
    #expect(found.vocabularySize == 151936)
    #expect(found.hiddenSize == 1024)
    #expect(found.intermediateSize == 2816)
    #expect(found.layerCount == 24)
    #expect(found.heads.queryCount == 16 && found.heads.keyValueCount == 16)
    #expect(found.heads.size == 64)
    #expect(found.heads.fusedColumns == 3072)
    #expect(found.normEpsilon == 1e-6)
    #expect(found.rotary == RotaryEmbedding(base: 1_000_000, headSize: 64))
    #expect(found.windows == Array(repeating: nil, count: 24))
    #expect(found.tiesEmbeddings)
    #expect(found.initializerRange == 0.02)
    #expect(ParameterTable(found).parameterCount == 463_987_712)
  }

  /// transformers 5 writes `rope_parameters`, `dtype` and `layer_types`.
  @Test func readsTheNewForm() throws {
    let old = try configuration()
    let new = try configuration([
      ("rope_theta", nil), ("torch_dtype", nil), ("dtype", "\"bfloat16\""),
      ("rope_parameters", "{\"rope_theta\": 1000000.0, \"rope_type\": \"default\"}"),
      (
        "layer_types",
        "[\(Array(repeating: "\"full_attention\"", count: 24).joined(separator: ","))]"
      ),
      ("sliding_window", "null"),
    ])
    #expect(new == old)
    let whole = try configuration([
      ("rope_theta", nil), ("rope_parameters", "{\"rope_theta\": 1000000}"),
    ])
    #expect(whole == old)
  }

  @Test func readsWhatMayBeMissing() throws {
    let found = try configuration([
      ("num_key_value_heads", nil), ("rms_norm_eps", nil), ("rope_theta", nil),
      ("tie_word_embeddings", nil), ("initializer_range", nil), ("hidden_act", nil),
      ("use_sliding_window", nil), ("architectures", nil),
    ])
    #expect(found.heads.keyValueCount == 16)
    #expect(found.normEpsilon == 1e-6)
    #expect(found.rotary == RotaryEmbedding(base: 10000, headSize: 64))
    #expect(!found.tiesEmbeddings)
    #expect(found.initializerRange == 0.02)
    let nulls = try configuration([
      ("rope_scaling", "null"), ("quantization_config", "null"), ("head_dim", "null"),
      ("tie_word_embeddings", "null"),
    ])
    #expect(nulls.heads.size == 64 && !nulls.tiesEmbeddings)
  }

  @Test func readsGroupedAndWideHeads() throws {
    let grouped = try configuration([("num_key_value_heads", "2")])
    #expect(grouped.heads.keyValueCount == 2)
    #expect(grouped.heads.fusedColumns == 20 * 64)
    let wide = try configuration([("head_dim", "128")])
    #expect(wide.heads.size == 128)
    // With a head size of its own the hidden size need not be a multiple.
    let free = try configuration([
      ("hidden_size", "1000"), ("num_attention_heads", "3"), ("num_key_value_heads", "1"),
      ("head_dim", "10"),
    ])
    #expect(free.heads.size == 10)
    #expect(grouped != wide)
  }

  /// Sizes that are missing, zero, negative, huge or of another type.
  ///
  /// Each refusal names file and key.
  @Test(arguments: [
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim",
  ]) func refusesWrongSizes(key: String) throws {
    for value in [
      "0", "-1", "-9223372036854775808", "9223372036854775807", "1099511627776", "1.5", "16.0",
      "1e300", "\"16\"", "true", "[16]", "{}",
    ] {
      let sentence = try refusal([(key, value)])
      #expect(sentence.contains(key), "\(value): \(sentence)")
      #expect(sentence.hasPrefix("folder/config.json"), "\(sentence)")
    }
    if key != "num_key_value_heads" && key != "head_dim" {
      #expect(try refusal([(key, nil)]).contains(key))
      #expect(try refusal([(key, "null")]).contains(key))
    }
  }

  @Test func refusesHeadsThatDoNotFit() throws {
    let grouped = try refusal([("num_key_value_heads", "5")])
    #expect(grouped.contains("num_key_value_heads (5)") && grouped.contains("16"))
    #expect(try refusal([("num_key_value_heads", "32")]).contains("num_key_value_heads"))
    let width = try refusal([("hidden_size", "1000")])
    #expect(width.contains("hidden_size (1000)") && width.contains("16"))
    // Rotation pairs the halves of a head.
    #expect(try refusal([("head_dim", "15")]).contains("15"))
    #expect(try refusal([("hidden_size", "16")]).contains("1"))
  }

  @Test func refusesSizesThatOverflowTogether() throws {
    let sentence = try refusal([
      ("num_attention_heads", "65536"), ("num_key_value_heads", "65536"), ("head_dim", "65536"),
      ("hidden_size", "1048576"), ("num_hidden_layers", "4096"), ("vocab_size", "16777216"),
      ("intermediate_size", "4194304"),
    ])
    #expect(sentence.hasPrefix("folder/config.json") && sentence.contains("overflow"))
  }

  @Test(arguments: ["rms_norm_eps", "rope_theta", "initializer_range"])
  func refusesWrongNumbers(key: String) throws {
    for value in ["0", "0.0", "-1e-6", "\"1e-6\"", "true", "[]", "{}"] {
      let sentence = try refusal([(key, value)])
      #expect(sentence.contains(key), "\(value): \(sentence)")
    }
    let nested = try refusal([
      ("rope_theta", nil), ("rope_parameters", "{\"rope_theta\": -1}"),
    ])
    #expect(nested.contains("rope_parameters") && nested.contains("rope_theta"))
  }

  @Test func refusesWhatIsNotImplemented() throws {
    for (key, value, found) in [
      ("model_type", "\"mixtral\"", "mixtral"), ("model_type", "\"Qwen2\"", "Qwen2"),
      ("architectures", "[\"Qwen2ForTokenClassification\"]", "TokenClassification"),
      ("hidden_act", "\"gelu\"", "gelu"), ("quantization_config", "{\"bits\": 4}", "set"),
      ("layer_types", "[\"linear_attention\"]", "linear_attention"),
      ("num_experts", "8", "8"), ("alibi", "true", "true"),
      ("partial_rotary_factor", "0.5", "0.5"),
      ("rope scaling", "yarn", "yarn"),
    ] {
      let change =
        key == "rope scaling" ? ("rope_scaling", "{\"type\": \"\(value)\"}") : (key, value)
      let sentence = try refusal([change])
      #expect(sentence.contains(key) && sentence.contains(found), "\(sentence)")
      #expect(sentence.contains("not implemented"), "\(sentence)")
    }
    for (key, value) in [
      ("model_type", nil), ("model_type", "3"), ("hidden_act", "3"), ("rope_scaling", "3"),
      ("rope_parameters", "[]"),
    ] as [(String, String?)] {
      #expect(try refusal([(key, value)]).contains(key))
    }
  }

  /// A value of a type that a key cannot have is refused, not taken for the default.
  @Test func refusesWrongTypesWhereDefaultsExist() throws {
    for (key, value) in [
      ("tie_word_embeddings", "\"true\""), ("tie_word_embeddings", "1"),
      ("use_sliding_window", "\"true\""), ("use_sliding_window", "1"),
      ("layer_types", "\"sliding_attention\""), ("layer_types", "[3]"),
      ("architectures", "\"LlamaForCausalLM\""), ("architectures", "[3]"),
      ("rope_scaling", "{\"type\": 3}"), ("rope_parameters", "{\"rope_type\": [\"yarn\"]}"),
      ("sliding_window", "\"4096\""), ("sliding_window", "0"),
    ] {
      #expect(try refusal([(key, value)]).contains(key), "\(key) \(value)")
    }
  }

  /// ε must also be a positive number after rounding to 32 bits: rows of zeros are divided by it.
  @Test func refusesAnEpsilonOutsideOfFloat() throws {
    for value in ["1e-60", "1e-320", "1e60"] {
      #expect(try refusal([("rms_norm_eps", value)]).contains("rms_norm_eps"))
    }
  }

  @Test func refusesWhatIsNoObject() throws {
    for text in ["[]", "3", "null", "\"qwen2\""] {
      let json = try JSON(parsing: Array(text.utf8))
      #expect(throws: ModelError.self) {
        try DecoderConfiguration(json: json, source: "config.json")
      }
    }
  }
}
