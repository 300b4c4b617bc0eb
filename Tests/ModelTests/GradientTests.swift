import Model
import Tensor
import Testing

/// Directional finite differences of Σ c · log p with the forward in Double.
///
/// The reference is smooth to 1e-15, so a step of 1e-5 leaves errors of about 1e-9: what remains is
/// the rounding of the float backward, a few 1e-6 of |gradient| |u|.
private struct Check {
  let model: TinyModel
  let reference: ReferenceDecoder
  let families: [PromptFamily]
  let coefficients: [Float]
  let gradient: [Float]

  init(_ sizes: TinySizes, _ families: [PromptFamily], _ compute: Compute) throws {
    model = try TinyModel(sizes)
    reference = ReferenceDecoder(model)
    self.families = families
    let batch = PackedBatch(families)
    coefficients = mixedCoefficients(batch.targets.count)
    let decoder = model.decoder(compute)
    gradient = ModelTests.gradient(of: decoder, DecoderBackward(decoder), batch, coefficients)
  }

  /// Error of ⟨gradient, u⟩, relative to |gradient| |u|, with u random in `range`, 0 elsewhere.
  func error(in range: Range<Int>, seed: UInt64) -> Double {
    var random = TestRandom(state: seed)
    let direction = range.map { _ in random.normal() }
    func value(_ step: Double) -> Double {
      var weights = model.numbers
      for (index, part) in zip(range, direction) { weights[index] += step * part }
      return zip(reference.logProbabilities(families, weights), coefficients)
        .reduce(0) { $0 + $1.0 * Double($1.1) }
    }
    let step = 1e-5
    let difference = (value(step) - value(-step)) / (2 * step)
    let part = gradient[range].map { Double($0) }
    let predicted = zip(part, direction).reduce(0) { $0 + $1.0 * $1.1 }
    func norm(_ values: [Double]) -> Double {
      values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
    return abs(predicted - difference) / max(1e-30, norm(part) * norm(direction))
  }
}

@Suite struct GradientTests {
  @Test(arguments: TinySizes.all, Setting.oneThread)
  func wholeGradient(_ sizes: TinySizes, _ setting: Setting) throws {
    let check = try Check(sizes, twoFamilies(below: sizes.vocabulary), setting.compute())
    for seed in 0..<4 {
      let error = check.error(in: 0..<check.gradient.count, seed: 100 + UInt64(seed))
      #expect(error < 1e-5, "direction \(seed)")
    }
  }

  @Test(arguments: TinySizes.all) func gradientOfEachTensor(_ sizes: TinySizes) throws {
    let check = try Check(
      sizes, twoFamilies(below: sizes.vocabulary), Compute(threadCount: 2))
    for (number, parameter) in check.model.table.parameters.enumerated() {
      let range = parameter.offset..<parameter.offset + parameter.count
      #expect(check.gradient[range].contains { $0 != 0 }, "\(parameter.name) has a gradient")
      for seed in 0..<2 {
        let error = check.error(in: range, seed: UInt64(200 + 10 * number + seed))
        #expect(error < 2e-5, "\(parameter.name), direction \(seed)")
      }
    }
  }

  /// More predictions than a block of the vocabulary projection, more rows than a tile.
  @Test func severalBlocksAndTiles() throws {
    let families = [
      PromptFamily(
        prompt: randomTokens(66, below: 37, seed: 14),
        completions: [
          randomTokens(130, below: 37, seed: 15), randomTokens(140, below: 37, seed: 16),
        ])
    ]
    let check = try Check(.tied, families, Compute(threadCount: 2))
    let error = check.error(in: 0..<check.gradient.count, seed: 300)
    #expect(error < 1e-5)
  }

  /// Unused places between blocks get no gradient.
  @Test func gapsStayZero() throws {
    let check = try Check(.wideHeads, twoFamilies(below: 19), Compute(threadCount: 1))
    var isUsed = [Bool](repeating: false, count: check.gradient.count)
    for parameter in check.model.table.parameters {
      for index in parameter.offset..<parameter.offset + parameter.count { isUsed[index] = true }
    }
    #expect(isUsed.contains(false), "these sizes leave gaps")
    let gaps = zip(isUsed, check.gradient).filter { !$0.0 }.map(\.1)
    #expect(gaps.allSatisfy { $0 == 0 })
  }

  /// The ordered sum over groups: adding to a sum equals finishing this group first, in every bit.
  @Test(arguments: [TinySizes.untied, .tied], Setting.all)
  func addingEqualsAddingAfterwards(_ sizes: TinySizes, _ setting: Setting) throws {
    for precision in Precision.allCases {
      try expectAdding(sizes, setting, precision)
    }
  }

  private func expectAdding(
    _ sizes: TinySizes, _ setting: Setting, _ precision: Precision
  ) throws {
    let model = try TinyModel(sizes)
    let decoder = model.decoder(setting.compute(), precision)
    let backward = DecoderBackward(decoder)
    // Tokens that come up again and again, in prompts and completions, with one that comes up once.
    let first = PackedBatch(
      twoFamilies(below: 37) + [
        PromptFamily(
          prompt: [3, 3, 3, 5, 3, 0], completions: [[3, 3, 5, 3], [5, 5, 5, 36, 3, 0, 0, 3]])
      ])
    let second = PackedBatch([
      PromptFamily(
        prompt: randomTokens(9, below: 37, seed: 17),
        completions: [
          randomTokens(200, below: 37, seed: 18), randomTokens(90, below: 37, seed: 19),
        ])
    ])
    let coefficients = (
      mixedCoefficients(first.targets.count), mixedCoefficients(second.targets.count)
    )
    let one = gradient(of: decoder, backward, first, coefficients.0)
    let other = gradient(of: decoder, backward, second, coefficients.1)
    let both = gradient(of: decoder, backward, second, coefficients.1, from: one)
    expectEqual(bits(both), bits(zip(one, other).map { $0 + $1 }))
    // Nothing of the larger batch is left in the work space.
    expectEqual(bits(gradient(of: decoder, backward, first, coefficients.0)), bits(one))
  }

  /// A gradient that counts as zero has the numbers of one that is, whatever its memory held.
  @Test(arguments: TinySizes.all, Setting.oneThread)
  func startingAtZero(_ sizes: TinySizes, _ setting: Setting) throws {
    let model = try TinyModel(sizes)
    // The second has nothing to predict: its head is not run.
    for families in [
      twoFamilies(below: sizes.vocabulary), [PromptFamily(prompt: [3, 1], completions: [])],
    ] {
      let batch = PackedBatch(families)
      let coefficients = mixedCoefficients(batch.targets.count)
      for precision in Precision.allCases {
        let decoder = model.decoder(setting.compute(), precision)
        let backward = DecoderBackward(decoder)
        let zero = gradient(of: decoder, backward, batch, coefficients)
        let held = garbage(model.table.parameters, count: model.table.floatCount)
        let found = gradient(
          of: decoder, backward, batch, coefficients, from: held, startsAtZero: true)
        expectEqual(found, zero, "\(precision)")
      }
    }
  }

  /// Rows that carry no coefficient change nothing, nor do coefficients of another sign cancel.
  @Test func gradientIsLinearInTheCoefficients() throws {
    let model = try TinyModel(.tied)
    let decoder = model.decoder(Compute(threadCount: 1))
    let backward = DecoderBackward(decoder)
    let batch = PackedBatch(twoFamilies(below: 37))
    let count = batch.targets.count
    let zero = gradient(of: decoder, backward, batch, [Float](repeating: 0, count: count))
    #expect(zero.allSatisfy { $0 == 0 })
    let one = gradient(of: decoder, backward, batch, mixedCoefficients(count))
    let half = gradient(of: decoder, backward, batch, mixedCoefficients(count).map { -$0 / 2 })
    expectEqual(half, one.map { -$0 / 2 }, "a power of two changes exponents only")
  }
}
