import Model
import Tensor

extension RankWorker {
  /// Adds the gradient of a group's summed pair losses to a flat gradient.
  ///
  /// - Parameters:
  ///   - rows: the group, reference log-probabilities and baselines set.
  ///   - objective: settings of the loss, by route.
  ///   - terms: the parts of the gradient to add; the results are of all.
  ///   - reference: the reference on the group's kept rows (``PairRow/family``), where a route has a
  ///     divergence coefficient.
  ///   - dropout: draws of the dropped inputs of the policy's adapter, nil to drop none.
  ///   - gradient: the gradient of what is trained, added to; nil for the losses alone.
  ///   - startsAtZero: whether `gradient` counts as zero, whatever it holds.
  /// - Returns: one result a row, in order; dropped rows have a loss of 0.
  public func pairGradient(
    _ rows: [PairRow], objective: (Route) -> PairObjective, terms: GradientTerms = .all,
    reference: ReferenceRows? = nil, dropout: DropoutDraws? = nil,
    addingTo gradient: UnsafeMutablePointer<Float>?, startsAtZero: Bool = false
  ) -> [PairResult] {
    let kept = rows.filter { !$0.isDropped }
    if kept.isEmpty {
      if startsAtZero { zero(gradient) }
      return rows.map { PairResult(index: $0.index, dropped: 1) }
    }
    let batch = PackedBatch(kept.map(\.family), dropout: dropout)
    let penalty = reference.map {
      DivergencePenalty(
        reference: $0,
        coefficients: divergenceCoefficients(kept, batch: batch, objective: objective))
    }
    let statistics = policy.forward(
      batch, keepsActivations: gradient != nil, penalty: penalty)
    var coefficients = [Float](repeating: 0, count: batch.targets.count)
    var results: [PairResult] = []
    var next = 0
    for row in rows {
      if row.isDropped {
        results.append(PairResult(index: row.index, dropped: 1))
        continue
      }
      let sequences = batch.sequences[next..<next + row.family.completions.count]
      next += sequences.count
      let settings = objective(row.route)
      let (first, second) = (sequences[sequences.startIndex], sequences[sequences.startIndex + 1])
      var (result, loss) = evaluate(row, first, second, statistics, objective: settings)
      if let penalty, settings.divergenceCoefficient > 0 {
        let cost = sequences.joined().reduce(0) {
          $0 + Double(penalty.coefficients[$1]) * statistics[$1].divergence
        }
        result.loss += cost
        result.divergence = cost / settings.divergenceCoefficient
      }
      let part = loss.sum(terms)
      for index in first { coefficients[index] = Float(part.first) }
      for index in second { coefficients[index] = Float(part.second) }
      results.append(result)
    }
    if let gradient {
      backward.backward(
        batch, coefficients: coefficients, penalty: terms.contains(.revkl) ? penalty : nil,
        addingTo: gradient, startsAtZero: startsAtZero)
    }
    return results
  }

  /// Loss and statistics of a row from its tokens'.
  private func evaluate(
    _ row: PairRow, _ first: Range<Int>, _ second: Range<Int>, _ statistics: [TokenStatistics],
    objective: PairObjective
  ) -> (PairResult, PairLoss) {
    let logs = PairLogs(
      first: sum(statistics, first, \.logProbability),
      second: sum(statistics, second, \.logProbability),
      referenceFirst: row.referenceFirst, referenceSecond: row.referenceSecond,
      firstCount: first.count, secondCount: second.count)
    var result = PairResult(index: row.index)
    result.weight = row.generated.map { importanceWeight(logs, generated: $0) } ?? 1
    let loss = pairLoss(
      logs, label: row.label, baseline: row.baseline, weight: result.weight,
      objective: objective)
    result.loss = loss.loss
    result.u = loss.u
    result.value = loss.value
    result.chosen = loss.isFirstChosen.map { $0 ? 1 : 0 } ?? 0.5
    result.first = logs.first
    result.second = logs.second
    result.firstLogits = sum(statistics, first, \.meanLogit)
    result.secondLogits = sum(statistics, second, \.meanLogit)
    result.firstTokens = Double(first.count)
    let both = first.lowerBound..<second.upperBound
    result.entropy = sum(statistics, both, \.entropy)
    result.correctTokens = correctCount(statistics, both)
    result.tokens = Double(both.count)
    return (result, loss)
  }

  /// γ a prediction: on the response drawn from the reference, else the mean of the pair's own two.
  private func divergenceCoefficients(
    _ rows: [PairRow], batch: PackedBatch, objective: (Route) -> PairObjective
  ) -> [Float] {
    var result = [Float](repeating: 0, count: batch.targets.count)
    var next = 0
    for row in rows {
      let gamma = objective(row.route).divergenceCoefficient
      let shares = row.referenceResponse == nil ? [0.5, 0.5] : [0, 0, 1]
      for share in shares {
        for index in batch.sequences[next] { result[index] = Float(gamma * share) }
        next += 1
      }
    }
    return result
  }
}
