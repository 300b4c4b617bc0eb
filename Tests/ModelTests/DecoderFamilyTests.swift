import JSONText
import Model
import Tensor
import Testing

/// A small `config.json` of a family with further members, each with a comma before it.
private func configuration(_ type: String, _ more: String = "") throws -> DecoderConfiguration {
  let text = """
    {"model_type": "\(type)", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
     "num_hidden_layers": 4, "num_attention_heads": 2, "max_position_embeddings": 128\(more)}
    """
  return try DecoderConfiguration(json: JSON(parsing: Array(text.utf8)), source: "c.json")
}

private func refusal(_ type: String, _ more: String) throws -> String {
  do {
    _ = try configuration(type, more)
    Issue.record("\(more) was accepted")
    return ""
  } catch let error as ModelError {
    return error.description
  }
}

/// What the families' configuration classes do with missing members.
@Suite struct DecoderFamilyTests {
  @Test func defaultsAreTheFamilys() throws {
    let llama = try configuration("llama")
    #expect(llama.heads.keyValueCount == 2 && llama.normEpsilon == 1e-6)
    #expect(!llama.hasQueryKeyValueBias && llama.windows == [nil, nil, nil, nil])
    let mistral = try configuration("mistral", ", \"num_key_value_heads\": 1")
    #expect(mistral.windows == Array(repeating: 4096, count: 4))
    #expect(
      try configuration("mistral", ", \"num_key_value_heads\": null, \"sliding_window\": null")
        .windows == Array(repeating: nil, count: 4))
    #expect(try refusal("mistral", "").contains("num_key_value_heads (8)"))
    let phi = try configuration("phi3")
    #expect(phi.normEpsilon == 1e-5 && phi.windows == Array(repeating: nil, count: 4))
    #expect(try configuration("qwen3").heads.size == 128)
    #expect(try configuration("qwen2").hasQueryKeyValueBias)
  }

  @Test func windowsFollowUseSlidingWindow() throws {
    let window = ", \"sliding_window\": 8"
    #expect(try configuration("qwen2", window).windows == [nil, nil, nil, nil])
    let used = window + ", \"use_sliding_window\": true, \"max_window_layers\": 3"
    #expect(try configuration("qwen2", used).windows == [nil, nil, nil, 8])
    // `layer_types` goes before `max_window_layers`.
    let types = """
      , "layer_types": ["sliding_attention", "full_attention", "full_attention",
      "sliding_attention"]
      """
    #expect(try configuration("qwen3", used + types).windows == [8, nil, nil, 8])
    #expect(try refusal("qwen3", types).contains("use_sliding_window"))
    #expect(try refusal("llama", types).contains("sliding_attention"))
    #expect(try refusal("phi3", window + types).contains("layer_types"))
    let negative = ", \"use_sliding_window\": true, \"max_window_layers\": -1"
    #expect(try refusal("qwen2", negative).contains("max_window_layers"))
    #expect(try refusal("qwen2", ", \"layer_types\": [\"full_attention\"]").contains("4"))
  }

  @Test func biasesFollowTheirKeys() throws {
    let both = ", \"attention_bias\": true, \"mlp_bias\": true"
    let llama = try configuration("llama", both)
    #expect(llama.hasQueryKeyValueBias && llama.hasAttentionOutputBias && llama.hasMLPBias)
    let qwen3 = try configuration("qwen3", both)
    #expect(qwen3.hasAttentionOutputBias && !qwen3.hasMLPBias)
    let mistral = try configuration("mistral", both + ", \"num_key_value_heads\": 2")
    #expect(!mistral.hasQueryKeyValueBias && !mistral.hasMLPBias)
  }

  /// Frequencies by hand: plain ones are 1, 10^−1, 10^−2, 10^−3.
  @Test func rotaryScaling() throws {
    let plain: [Float] = [1, 0.1, 0.01, 0.001]
    func rotary(_ scaling: String, of type: String = "llama") throws -> DecoderConfiguration {
      try configuration(
        type, ", \"rope_theta\": 10000, \"rope_scaling\": {\(scaling)}")
    }
    #expect(try rotary("\"type\": \"default\"").rotary.frequencies == plain)
    let linear = try rotary("\"type\": \"linear\", \"factor\": 4").rotary
    #expect(linear.frequencies == plain.map { $0 / 4 } && linear.scale == 1)
    // Wavelengths 6.3, 63, 628, 6283: kept below 30 / 3, divided by 8 above 30 / 0.1, between both
    // a share of (30 / 62.83 − 0.1) / 2.9.
    let llama3 = try rotary(
      """
      "rope_type": "llama3", "factor": 8, "low_freq_factor": 0.1, "high_freq_factor": 3,
      "original_max_position_embeddings": 30
      """
    ).rotary.frequencies
    let share: Float = (30 / 62.831_853 - 0.1) / 2.9
    let expected: [Float] = [1, 0.1 * ((1 - share) / 8 + share), 0.01 / 8, 0.001 / 8]
    for (found, expected) in zip(llama3, expected) {
      #expect(abs(found - expected) < 1e-6 * expected)
    }
    let dynamic = try rotary("\"type\": \"dynamic\", \"factor\": 2")
    #expect(dynamic.rotary.frequencies == plain && dynamic.positionLimit?.count == 128)
    let long = try rotary(
      """
      "type": "su", "short_factor": [1, 2, 4, 8], "long_factor": [9, 9, 9, 9],
      "original_max_position_embeddings": 16
      """, of: "phi3")
    #expect(long.rotary.frequencies == [1, 0.05, 0.0025, 0.000125])
    // √(1 + ln 8 / ln 16)
    #expect(abs(long.rotary.scale - 1.322_875_7) < 1e-6)
    #expect(long.positionLimit?.count == 16)
    #expect(long.positionLimit?.reason.contains("longrope") == true)
  }

  @Test func refusesWrongScaling() throws {
    for (scaling, part) in [
      ("\"type\": \"linear\"", "factor"), ("\"type\": \"linear\", \"factor\": 0", "factor"),
      ("\"rope_type\": \"llama3\", \"factor\": 8", "low_freq_factor"),
      (
        """
        "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
        "original_max_position_embeddings": 16
        """, "above"
      ),
      ("\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1]", "original"),
      (
        """
        "type": "longrope", "short_factor": [1], "original_max_position_embeddings": 16
        """, "short_factor"
      ),
    ] {
      let sentence = try refusal("llama", ", \"rope_scaling\": {\(scaling)}")
      #expect(sentence.contains(part), "\(sentence)")
    }
    #expect(try refusal("phi3", ", \"partial_rotary_factor\": 0.4").contains("rotates 3"))
    #expect(try refusal("phi3", ", \"partial_rotary_factor\": 0.1").contains("rotates 0"))
    #expect(try refusal("phi3", ", \"partial_rotary_factor\": 1.5").contains("up to 1"))
  }

  @Test func fusedTensorsLieAsTheSeparateOnesDo() throws {
    let fused = ParameterTable(try configuration("phi3"))
    let names = Set(fused.parameters.map(\.name))
    #expect(names.contains("model.layers.0.self_attn.qkv_proj.weight"))
    #expect(names.contains("model.layers.0.mlp.gate_up_proj.weight"))
    let separate = ParameterTable(try configuration("llama"))
    #expect(fused.floatCount == separate.floatCount)
  }
}
