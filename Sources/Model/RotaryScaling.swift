import Glibc
import JSONText
import Tensor

// How a configuration's `rope_theta` and `rope_scaling` (transformers 5: `rope_parameters`) become
// frequencies. Formulas: transformers, modeling_rope_utils.py; each kind names its paper. They are computed
// in 32 bits in its order of operations: models were trained with those numbers, and far positions multiply
// the last bits' difference.
extension ConfigurationReader {
  /// The rotary embedding and, where it holds for short sequences only, up to which length.
  func rotary(
    _ family: DecoderFamily, headSize: Int
  ) throws(ModelError) -> (RotaryEmbedding, PositionLimit?) {
    let scaling = try rotaryScaling()
    // transformers 5 writes everything into the object, older versions the base beside it.
    let base = try scaling.positive(
      "rope_theta", default: try positive("rope_theta", default: 10000))
    let part = try scaling.positive(
      "partial_rotary_factor", default: try positive("partial_rotary_factor", default: 1))
    guard part <= 1, part == 1 || family.allowsPartialRotary else {
      throw unsupported(
        "partial_rotary_factor", "\(part)",
        supported: family.allowsPartialRotary
          ? "up to 1" : "whole heads for \(family.modelType)")
    }
    let turned = Int(Double(headSize) * part)
    guard turned >= 2, turned % 2 == 0 else {
      throw ModelError(
        "\(source): partial_rotary_factor \(part) rotates \(turned) of \(headSize) channels of a "
          + "head; expected an even number from 2")
    }
    let plain = RotaryEmbedding.frequencies(base: base, channels: turned)
    func embedding(_ frequencies: [Float], scale: Double = 1) -> RotaryEmbedding {
      RotaryEmbedding(frequencies: frequencies, scale: Float(scale), headSize: headSize)
    }
    let kind = try scaling.string(
      "rope_type", default: try scaling.string("type", default: "default"))
    switch kind {
    case "default": return (embedding(plain), nil)
    case "linear":
      // Chen et al., arXiv 2306.15595.
      let factor = Float(try scaling.positive("factor"))
      return (embedding(plain.map { $0 / factor }), nil)
    case "llama3": return (embedding(try scaling.llama3(plain)), nil)
    case "dynamic":
      // Within the trained length it is the plain one (bloc97's NTK-aware scaling beyond).
      let limit = try size("max_position_embeddings", limit: 1 << 40)
      let reason = "rope scaling \"dynamic\" depends on the whole sequence's length"
      return (embedding(plain), PositionLimit(count: limit, reason: reason))
    case "longrope", "su":
      return try longRope(scaling, plain, embedding)
    default:
      throw unsupported(
        "rope scaling", "\"\(kind)\"",
        supported: "default, linear, llama3, dynamic and longrope (within the original length)")
    }
  }

  /// The members that say how positions are scaled; of no key where there is nothing to scale.
  private func rotaryScaling() throws(ModelError) -> ConfigurationReader {
    for key in ["rope_parameters", "rope_scaling"] {
      guard let parameters = json[key], !parameters.isNull else { continue }
      guard parameters.members != nil else {
        throw ModelError("\(source): \(key) must be an object, found \(parameters.kind)")
      }
      return ConfigurationReader(json: parameters, source: "\(source), \(key)")
    }
    return ConfigurationReader(json: .object([]), source: source)
  }

  /// Llama 3.1: long wavelengths divided by the factor, short ones kept, between them a mixture.
  private func llama3(_ plain: [Float]) throws(ModelError) -> [Float] {
    let factor = Float(try positive("factor"))
    let low = Float(try positive("low_freq_factor"))
    let high = Float(try positive("high_freq_factor"))
    let original = Float(try positive("original_max_position_embeddings"))
    guard high > low else {
      throw ModelError(
        "\(source): high_freq_factor (\(high)) must be above low_freq_factor (\(low))")
    }
    return plain.map { frequency in
      let wavelength = 2 * Float.pi / frequency
      if wavelength < original / high { return frequency }
      if wavelength > original / low { return frequency / factor }
      let share = (original / wavelength - low) / (high - low)
      return (1 - share) * frequency / factor + share * frequency
    }
  }

  /// LongRoPE (Ding et al., arXiv 2402.13753) with the factors of short sequences.
  private func longRope(
    _ scaling: ConfigurationReader, _ plain: [Float],
    _ embedding: ([Float], Double) -> RotaryEmbedding
  ) throws(ModelError) -> (RotaryEmbedding, PositionLimit?) {
    let longest = try size("max_position_embeddings", limit: 1 << 40)
    let outer = try optionalSize(
      "original_max_position_embeddings", limit: 1 << 40, missing: nil)
    guard
      let original = try scaling.optionalSize(
        "original_max_position_embeddings", limit: 1 << 40, missing: outer) ?? outer, original > 1
    else {
      throw ModelError(
        "\(source): rope scaling \"longrope\" needs original_max_position_embeddings above 1")
    }
    let short = try scaling.positives("short_factor", count: plain.count)
    let factor = try scaling.positive("factor", default: Double(longest) / Double(original))
    let implied = factor <= 1 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()
    let scale = try scaling.positive("attention_factor", default: implied)
    let limit = PositionLimit(
      count: original, reason: "rope scaling \"longrope\" changes to its long factors")
    return (embedding(zip(plain, short).map { 1 / (Float($1) / $0) }, scale), limit)
  }
}
