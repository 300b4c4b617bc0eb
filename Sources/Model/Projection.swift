/// The four products of a decoder layer, each of one or several linear layers side by side.
enum Projection: Int, CaseIterable, Sendable {
  case queryKeyValue
  case attentionOutput
  case gateUp
  case down
}

extension DecoderConfiguration {
  /// The linear layers of a projection as the family's folders hold them, by name and outputs.
  func parts(of projection: Projection) -> [(name: String, outputs: Int)] {
    let isFused = family.fusesProjections
    let keys = heads.keyValueCount * heads.size
    switch projection {
    case .queryKeyValue:
      return isFused
        ? [("self_attn.qkv_proj", heads.fusedColumns)]
        : [
          ("self_attn.q_proj", heads.queryCount * heads.size), ("self_attn.k_proj", keys),
          ("self_attn.v_proj", keys),
        ]
    case .attentionOutput: return [("self_attn.o_proj", hiddenSize)]
    case .gateUp:
      return isFused
        ? [("mlp.gate_up_proj", 2 * intermediateSize)]
        : [("mlp.gate_proj", intermediateSize), ("mlp.up_proj", intermediateSize)]
    case .down: return [("mlp.down_proj", hiddenSize)]
    }
  }

  /// Columns of a projection's input.
  func inputs(of projection: Projection) -> Int {
    switch projection {
    case .queryKeyValue, .gateUp: hiddenSize
    case .attentionOutput: heads.queryCount * heads.size
    case .down: intermediateSize
    }
  }

  /// Columns of a projection's output.
  func outputs(of projection: Projection) -> Int {
    switch projection {
    case .queryKeyValue: heads.fusedColumns
    case .attentionOutput, .down: hiddenSize
    case .gateUp: 2 * intermediateSize
    }
  }

  func hasBias(_ projection: Projection) -> Bool {
    switch projection {
    case .queryKeyValue: hasQueryKeyValueBias
    case .attentionOutput: hasAttentionOutputBias
    case .gateUp, .down: hasMLPBias
    }
  }
}
