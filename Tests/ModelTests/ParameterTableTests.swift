import Testing

@testable import Model
@testable import Tensor

@Suite struct ParameterTableTests {
  @Test func namesAndShapesAreTransformers() throws {
    let table = ParameterTable(try TinySizes.untied.configuration())
    let layer: [(String, [Int])] = [
      ("input_layernorm.weight", [16]), ("self_attn.q_proj.weight", [16, 16]),
      ("self_attn.k_proj.weight", [8, 16]), ("self_attn.v_proj.weight", [8, 16]),
      ("self_attn.q_proj.bias", [16]), ("self_attn.k_proj.bias", [8]),
      ("self_attn.v_proj.bias", [8]), ("self_attn.o_proj.weight", [16, 16]),
      ("post_attention_layernorm.weight", [16]), ("mlp.gate_proj.weight", [24, 16]),
      ("mlp.up_proj.weight", [24, 16]), ("mlp.down_proj.weight", [16, 24]),
    ]
    var expected: [(String, [Int])] = [("model.embed_tokens.weight", [37, 16])]
    for index in 0..<2 {
      expected += layer.map { ("model.layers.\(index)." + $0.0, $0.1) }
    }
    expected += [("model.norm.weight", [16]), ("lm_head.weight", [37, 16])]
    #expect(table.parameters.map(\.name) == expected.map(\.0))
    #expect(table.parameters.map(\.shape) == expected.map(\.1))
    #expect(
      table.parameterCount
        == expected.reduce(0) { $0 + $1.1.reduce(1, *) })
  }

  @Test(arguments: TinySizes.all) func nothingOverlaps(_ sizes: TinySizes) throws {
    let table = ParameterTable(try sizes.configuration())
    var end = 0
    for parameter in table.parameters.sorted(by: { $0.offset < $1.offset }) {
      #expect(parameter.offset >= end, "\(parameter.name)")
      #expect(parameter.offset - end < 16)
      // A block starts on a multiple of 16; what shares a product follows without a gap.
      #expect(parameter.offset % 16 == 0 || parameter.offset == end)
      // Matrices come first, so that what is in bf16 is the first part.
      let isMatrix = parameter.shape.count == 2
      #expect(isMatrix == (parameter.offset < table.matrixCount), "\(parameter.name)")
      #expect(isMatrix == (parameter.offset + parameter.count <= table.matrixCount))
      end = parameter.offset + parameter.count
    }
    #expect(table.floatCount - end < 16 && table.floatCount >= end)
    #expect(table.matrixCount % 16 == 0 && table.matrixCount < table.floatCount)
    let places = Dictionary(uniqueKeysWithValues: table.parameters.map { ($0.name, $0) })
    for index in 0..<sizes.layers {
      let prefix = "model.layers.\(index)."
      for block in [
        ["self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"],
        ["self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"],
        ["mlp.gate_proj.weight", "mlp.up_proj.weight"], ["mlp.down_proj.weight"],
        ["self_attn.o_proj.weight"], ["input_layernorm.weight"],
        ["post_attention_layernorm.weight"],
      ] {
        let members = block.compactMap { places[prefix + $0] }
        // Families lack biases, or hold a block as one tensor: then all of it is missing.
        #expect(members.count == block.count || sizes.family != "qwen2" && members.isEmpty)
        #expect((members.first?.offset ?? 0) % 16 == 0)
        for (one, next) in zip(members, members.dropFirst()) {
          #expect(one.offset + one.count == next.offset)
        }
      }
    }
    #expect(table.isTied == sizes.isTied)
    #expect(table.embedding == places["model.embed_tokens.weight"]?.offset)
    #expect(table.finalNorm == places["model.norm.weight"]?.offset)
    if sizes.isTied {
      #expect(places["lm_head.weight"] == nil && table.head == table.embedding)
    } else {
      #expect(table.head == places["lm_head.weight"]?.offset)
    }
    #expect(table.layers.count == sizes.layers)
  }

  /// The bound that refuses huge models really is one.
  @Test(arguments: TinySizes.all) func boundIsABound(_ sizes: TinySizes) throws {
    let configuration = try sizes.configuration()
    let bound = try #require(ParameterTable.floatCount(of: configuration))
    #expect(bound >= ParameterTable(configuration).floatCount)
    var huge = configuration
    huge.hiddenSize = 1 << 20
    huge.intermediateSize = 1 << 22
    #expect(ParameterTable.floatCount(of: huge) == nil)
  }

  @Test func initialWeightsAreTransformers() throws {
    var configuration = try TinySizes.wideHeads.configuration()
    configuration.initializerRange = 0.5
    let table = ParameterTable(configuration)
    func weights(seed: UInt64) -> [Float] {
      var result = [Float](repeating: 0, count: table.floatCount)
      result.withUnsafeMutableBufferPointer { buffer in
        guard let base = buffer.baseAddress else { return }
        table.initialize(base, configuration: configuration, seed: seed)
      }
      return result
    }
    let found = weights(seed: 3)
    expectEqual(found, weights(seed: 3))
    #expect(found != weights(seed: 4))
    // Ranks of a node fill parts, each on its threads: together the same weights.
    for partCount in [2, 3, 7] {
      let pool = ThreadPool(threadCount: 2)
      var parts = [Float](repeating: 0, count: table.floatCount)
      var written = [Int](repeating: 0, count: table.floatCount)
      parts.withUnsafeMutableBufferPointer { buffer in
        written.withUnsafeMutableBufferPointer { counts in
          for part in (0..<partCount).reversed() {
            initializeWeights(
              table: table, configuration: configuration, seed: 3, part: part, of: partCount,
              pool: pool
            ) { floats, offset in
              for (index, value) in floats.enumerated() {
                buffer[offset + index] = value
                counts[offset + index] += 1
              }
            }
          }
        }
      }
      pool.shutDown()
      expectEqual(parts, found, "\(partCount) parts")
      #expect(written.allSatisfy { $0 <= 1 }, "no place is given twice")
      #expect(written.reduce(0, +) == table.parameterCount)
    }
    var seen: [Float] = []
    for parameter in table.parameters {
      let part = found[parameter.offset..<parameter.offset + parameter.count]
      if parameter.name.hasSuffix("norm.weight") {
        #expect(part.allSatisfy { $0 == 1 }, "\(parameter.name)")
      } else if parameter.name.hasSuffix("bias") {
        #expect(part.allSatisfy { $0 == 0 }, "\(parameter.name)")
      } else {
        let square = part.reduce(0) { $0 + Double($1) * Double($1) } / Double(part.count)
        // Relative deviation of a mean square of n normals is √(2/n); six of them.
        let slack = 6 * (2 / Double(part.count)).squareRoot()
        #expect(abs(square / 0.25 - 1) < slack, "\(parameter.name)")
        seen.append(part.first ?? 0)
      }
    }
    #expect(Set(seen).count == seen.count, "every tensor has draws of its own")
  }
}
