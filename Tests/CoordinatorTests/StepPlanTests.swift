import Model
import Tensor
import Testing

@testable import Coordinator

@Suite struct StepPlanTests {
  /// 100 GFLOP/s a thread at any number of rows from 32 on, 10 GB/s.
  private static func ceilings(threads: Int) -> Ceilings {
    var ceilings = Ceilings(host: "h", cpu: "c", threads: threads, kernels: "k")
    for (rows, rate) in [(1, 5e9), (32, 1e11), (1600, 1e11)] {
      ceilings.products.append(
        .init(
          kind: .forward, type: "f32", rows: rows, columns: 8, inner: 8, threads: threads,
          rate: .init(best: 1e15, typical: rate * Double(threads))))
    }
    ceilings.accesses = [
      .init(access: .read, threads: threads, rate: .init(best: 1e15, typical: 1e10)),
      .init(access: .copy, threads: threads, rate: .init(best: 1e15, typical: 1e10)),
      .init(access: .triad, threads: threads, rate: .init(best: 1e15, typical: 1e10)),
    ]
    return ceilings
  }

  @Test func secondsOfProducts() {
    let speeds = Speeds(
      ceilings: Self.ceilings(threads: 2), precision: .bf16, threads: 1, ranksOnNode: 2)
    func close(_ found: Double, _ expected: Double) -> Bool {
      abs(found - expected) < 1e-9 * expected
    }
    // A thread is half of what was measured with two.
    #expect(close(speeds.seconds(.forward, weights: 1e9, rows: 1), 2e9 / 5e9))
    #expect(close(speeds.seconds(.forward, weights: 1e9, rows: 32), 64e9 / 1e11))
    #expect(close(speeds.seconds(.forward, weights: 1e9, rows: 3200), 6400e9 / 1e11))
    // Halfway between one row and 32.
    #expect(close(speeds.seconds(.weightGradient, weights: 1e9, rows: 16.5), (0.4 + 0.64) / 2))
    #expect(speeds.bandwidth(.read) == 5e9)
    #expect(speeds.seconds(.forward, weights: 0, rows: 9) == 0)
  }

  private static func plan(
    ranks: Int = 1, nodes: Int = 1, adapter: Bool = false, nodeMemory: Double = 1e12,
    precision: Precision = .f32, _ change: (inout RunConfiguration) -> Void = { _ in }
  ) throws -> StepPlan {
    var configuration = try MemoryPlanTests.configuration()
    change(&configuration)
    var models = try MemoryPlanTests.models("Qwen1.5-0.5B")
    if adapter { models = try #require(models.adapted) }
    let onNode = (ranks + nodes - 1) / nodes
    let step = PlannedStep(
      configuration, lengths: MemoryPlanTests.lengths, rankCount: ranks, ranksOnNode: onNode)
    return StepPlan(
      configuration, models: models, step: step,
      memory: MemoryPlan(configuration, models: models, step: step, nodeMemory: nodeMemory),
      nodeCount: nodes,
      speeds: Speeds(
        ceilings: Self.ceilings(threads: 2), precision: precision, threads: 2 / onNode,
        ranksOnNode: onNode))
  }

  /// 2 · body · rows + 2 · head · predictions, and attention's, for forward, reference and, twice,
  /// backward.
  @Test func operationsOfAStep() throws {
    let plan = try Self.plan()
    let products = 2.0 * (308_281_344 * 8 * 198 + 155_582_464 * 8 * 100)
    // 100 · 101/2, and twice 149 · 150/2 less that.
    let pairs = 5050.0 + 2 * (11_175 - 5050)
    let attention: Double = 8 * 4 * 1024 * 24 * pairs
    #expect(
      plan.phases.map(\.name) == ["reference", "policy forward", "policy backward", "optimizer"])
    #expect(plan.phases[1].operations == products + attention)
    #expect(plan.phases[0].operations == plan.phases[1].operations)
    #expect(plan.phases[2].operations == 2 * products + 2.5 * attention)
    #expect(plan.phases[1].seconds > (products + attention) / 2e11)
    #expect(plan.phases[3].bytes == 463_987_712 * 32)
    #expect(plan.phases[3].seconds == 463_987_712 * 32 / 1e10)
  }

  @Test func ranksShareTheWork() throws {
    let (one, two) = (try Self.plan(), try Self.plan(ranks: 2))
    #expect(one.operations == two.operations)
    let sum = try #require(two.phases.first { $0.name == "sum of gradients" })
    // Four groups' gradients are read, and each rank clears its part of the sum.
    #expect(sum.bytes == 463_987_712 * 4 * (4 + 1))
    // One rank writes a gradient of four groups and adds three to it; two write four.
    #expect(one.phases[2].bytes == 4 * (308_281_344 + 155_582_464) * (4 + 3))
    #expect(two.phases[2].bytes == 4 * (308_281_344 + 155_582_464) * 4)
    // Two ranks of one thread do as much as one of two.
    #expect(abs(two.phases[1].seconds / one.phases[1].seconds - 1) < 1e-9)
    let far = try Self.plan(ranks: 2, nodes: 2)
    #expect(far.phases[1].seconds < 0.6 * one.phases[1].seconds)
    #expect(far.remarks.contains { $0.contains("between nodes") })
    // Half of the gradients cross, and the weights that products read.
    for (precision, weight) in [(Precision.f32, 4.0), (.bf16, 2)] {
      let far = try Self.plan(ranks: 2, nodes: 2, precision: precision)
      let sent = try #require(far.phases.first { $0.name == "sum of gradients" })
      #expect(sent.bytes == 463_987_712 * (4 * (4 + 1) + 4 * 2 + weight))
    }
  }

  @Test func layersThatRunAgainAreCounted() throws {
    let (plenty, short) = (try Self.plan(), try Self.plan(nodeMemory: 10.5e9))
    let again = try #require(short.phases.first { $0.name == "layers again" })
    #expect(again.operations < plenty.phases[1].operations)
    #expect(abs(short.seconds - plenty.seconds - again.seconds) < 1e-6)
  }

  @Test func anAdapterNeedsNoWeightGradients() throws {
    let (all, adapter) = (try Self.plan(), try Self.plan(adapter: true))
    #expect(adapter.phases[2].seconds < 0.7 * all.phases[2].seconds)
    #expect(adapter.phases[1].operations > all.phases[1].operations)
    #expect(adapter.phases[3].bytes < 0.1 * all.phases[3].bytes)
  }

  @Test func generationReadsTheWeightsForEachToken() throws {
    let plan = try Self.plan {
      $0.method = .sail
      $0.sail.dpr.fraction = 0.5
      $0.oracle = .command(.init(words: ["judge"]))
      $0.generation.maxNewTokens = 64
    }
    #expect(plan.phases.map(\.name).prefix(2) == ["prompts", "decoding"])
    let weights = 308_281_344.0 + 155_582_464
    // Eight sequences of 64 tokens together; one sees its prompt and half of its tokens.
    let decoder = try MemoryPlanTests.published("Qwen1.5-0.5B")
    let cache = 8 * Double(decoder.cacheBytes(.f32, positions: 132))
    #expect(plan.phases[1].bytes == 64 * (4 * weights + cache))
    #expect(plan.phases[1].operations == 512 * 2 * weights)
    #expect(plan.remarks.contains { $0.contains("oracle's own time") })
  }
}
