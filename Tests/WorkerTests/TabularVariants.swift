import Glibc

@testable import Worker

extension TabularVariant {
  /// Labels of the policy's own, in expectation or drawn; J is the negative entropy of the label.
  static func selfLabelled(_ link: PreferenceLink) -> [TabularVariant] {
    let value: @Sendable (Int, Int, Double) -> Double = { _, _, u in -entropy(u, link) }
    return [
      TabularVariant(
        testDescription: "self-labels, expected, \(link)", link: link, preference: 1,
        labels: { _, _, _ in [(.expected, 1)] }, value: value),
      TabularVariant(
        testDescription: "self-labels, drawn, \(link)", link: link, preference: 1,
        labels: { _, _, u in
          [
            (.drawnFirst, exp(logPreference(u, link))),
            (.drawnSecond, exp(logPreference(-u, link))),
          ]
        }, value: value),
    ]
  }

  /// The likelier order: J has a kink where u is 0, but no term through the label.
  static func likelier(_ link: PreferenceLink) -> TabularVariant {
    TabularVariant(
      testDescription: "self-labels, likelier, \(link)", link: link,
      labels: { _, _, _ in [(.mostLikely, 1)] },
      value: { _, _, u in logPreference(abs(u), link) })
  }

  /// Labels of an oracle: the higher score, its probability, or a draw of it.
  static func oracleLabelled(
    _ link: PreferenceLink, smoothing: Double = 0
  ) -> [TabularVariant] {
    func value(
      _ preference: @escaping @Sendable (Int, Int) -> Double
    ) -> @Sendable (Int, Int, Double) -> Double {
      { first, second, u in
        let p = preference(first, second)
        let smoothed = (1 - smoothing) * p + smoothing * (1 - p)
        return smoothed * logPreference(u, link) + (1 - smoothed) * logPreference(-u, link)
      }
    }
    let higher: @Sendable (Int, Int) -> Double = { first, second in
      let scores = TabularPolicy.scores
      if scores[first] == scores[second] { return 0.5 }
      return scores[first] > scores[second] ? 1 : 0
    }
    let soft: @Sendable (Int, Int) -> Double = { first, second in
      exp(logPreference(TabularPolicy.scores[first] - TabularPolicy.scores[second], link))
    }
    let name = "\(link)" + (smoothing > 0 ? ", smoothed" : "")
    return [
      TabularVariant(
        testDescription: "oracle, argmax, \(name)", link: link, smoothing: smoothing,
        labels: { first, second, _ in [(.given(firstIsBetter: higher(first, second)), 1)] },
        value: value(higher)),
      TabularVariant(
        testDescription: "oracle, soft, \(name)", link: link, smoothing: smoothing,
        labels: { first, second, _ in [(.given(firstIsBetter: soft(first, second)), 1)] },
        value: value(soft)),
      TabularVariant(
        testDescription: "oracle, drawn, \(name)", link: link, smoothing: smoothing,
        labels: { first, second, _ in
          let p = soft(first, second)
          return [(.given(firstIsBetter: 1), p), (.given(firstIsBetter: 0), 1 - p)]
        }, value: value(soft)),
    ]
  }

  /// Variants of both links whose J is smooth everywhere.
  static let smooth = PreferenceLink.allCases.flatMap { selfLabelled($0) + oracleLabelled($0) }
}
