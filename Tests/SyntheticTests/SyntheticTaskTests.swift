import Testing

@testable import Synthetic

@Suite struct SyntheticTaskTests {
  let task = SyntheticTask(seed: 5, labelNoise: 0)

  @Test func everyPromptIsReadBackAsItsRequest() {
    for index in 0..<300 {
      let request = task.request(index: index)
      #expect(Request(prompt: request.prompt) == request)
      #expect(request.prompt.hasSuffix(Request.marker))
    }
  }

  @Test func promptsArePlentiful() {
    let prompts = Set((0..<1000).map { task.request(index: $0).prompt })
    #expect(prompts.count >= 998)
  }

  @Test func everyAnswerIsReadBackWhole() {
    for index in 0..<300 {
      let answer = task.answer(to: task.request(index: index), sample: 0)
      let reading = AnswerReading(answer)
      #expect(reading.strayTokens.isEmpty && reading.isFinished, "\(answer)")
      #expect(answer.first == " ")
      #expect(answer.utf8.allSatisfy { (0x20..<0x7F).contains($0) })
    }
  }

  /// Each form, filled, must be read back as itself: no form hides another.
  @Test func everyFormIsReadBackAsItself() throws {
    for form in SentenceForm.all {
      let items = form.kind == .offer ? ["pens", "tape"] : ["pens"]
      let text = form.filled(thing: "order for the office", items: items, total: "4 boxes")
      let sentence = try #require(AnswerReading(text).sentences.first, "\(text)")
      #expect(sentence.kind == form.kind)
      #expect(sentence.tone == form.tone)
      #expect(sentence.items == (form.parts.contains { $0 == .item || $0 == .items } ? items : []))
      #expect(sentence.number == (form.kind == .count ? 4 : nil))
    }
  }

  /// Recorded: another text for the same seed would make old data sets irreproducible.
  @Test func drawsAreTheSameEverywhere() {
    let again = SyntheticTask(seed: 5, labelNoise: 0)
    let other = SyntheticTask(seed: 6, labelNoise: 0)
    let request = task.request(index: 17)
    #expect(again.request(index: 17) == request)
    #expect(other.request(index: 17) != request)
    #expect(task.answer(to: request, sample: 3) == again.answer(to: request, sample: 3))
    #expect(task.answer(to: request, sample: 3) != task.answer(to: request, sample: 4))
    #expect(task.pair(index: 17) == again.pair(index: 17))
    #expect(task.request(index: -1).prompt != task.request(index: 1).prompt)
    #expect(
      request.prompt
        == "Can you place an order for the office with shelves and paper, above all paper, for 7 "
        + "boxes? Be brief.\nAnswer:")
    #expect(
      task.answer(to: request, sample: 3)
        == " Welcome back. Here is your order for the office with paper and shelves. That makes 8 "
        + "boxes. Leave time for shelves. Leave time for paper. Thank you.")
  }

  @Test func labelsFollowTheRewardAndTheNoise() {
    let count = 800
    let noisy = SyntheticTask(seed: 5, labelNoise: 0.2)
    var (agreeing, noisyAgreeing, longer, turned) = (0, 0, 0, 0)
    for index in 0..<count {
      let pair = task.pair(index: index)
      let noisyPair = noisy.pair(index: index)
      func isTrue(_ pair: (prompt: String, chosen: String, rejected: String)) -> Bool {
        SyntheticTask.reward(prompt: pair.prompt, completion: pair.chosen)
          > SyntheticTask.reward(prompt: pair.prompt, completion: pair.rejected)
      }
      #expect(pair.chosen != pair.rejected)
      agreeing += isTrue(pair) ? 1 : 0
      noisyAgreeing += isTrue(noisyPair) ? 1 : 0
      longer += pair.chosen.utf8.count > pair.rejected.utf8.count ? 1 : 0
      turned += pair.chosen == noisyPair.rejected ? 1 : 0
    }
    // The draws are fixed; the bounds are three standard deviations around the documented shares.
    #expect((0.83...0.905).contains(Double(agreeing) / Double(count)))
    #expect((0.665...0.762).contains(Double(noisyAgreeing) / Double(count)))
    #expect((0.158...0.243).contains(Double(turned) / Double(count)))
    // Length does not tell: the longer answer is chosen about half the time.
    #expect((0.43...0.535).contains(Double(longer) / Double(count)))
  }

  @Test func thereIsMuchToGain() {
    let (requests, samples) = (10, 16)
    var (behaviour, bestOfFew, best) = (0.0, 0.0, 0.0)
    for index in 0..<requests {
      let request = task.request(index: index)
      let rewards = (0..<samples).map {
        TrueReward(of: task.answer(to: request, sample: $0), to: request).total
      }
      let found = SyntheticTask.bestAnswer(to: request)
      let attained = SyntheticTask.reward(prompt: request.prompt, completion: found)
      #expect(attained >= (rewards.max() ?? 0) - 0.15, "\(request.prompt) \(found)")
      behaviour += rewards.reduce(0, +) / Double(samples)
      bestOfFew += rewards.max() ?? 0
      best += attained
    }
    #expect(best - bestOfFew > 0.3 * Double(requests))
    #expect(bestOfFew - behaviour > 1.2 * Double(requests))
  }
}
