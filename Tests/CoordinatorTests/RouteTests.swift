import Testing
import Worker

@testable import Coordinator

@Suite struct RouteTests {
  @Test(arguments: [
    (0.0, Route.ddp), (0.0999, .ddp), (0.1, .dpp), (0.2999, .dpp), (0.31, .dpr), (0.5999, .dpr),
    (0.61, .offline), (0.9999, .offline),
  ])
  func thresholds(uniform: Double, expected: Route) {
    #expect(Route.route(uniform: uniform, ddp: 0.1, dpp: 0.2, dpr: 0.3) == expected)
  }

  @Test func onesAndZeros() {
    let last = 1 - 0x1p-53
    #expect(Route.route(uniform: 0, ddp: 0, dpp: 0, dpr: 0) == .offline)
    #expect(Route.route(uniform: last, ddp: 0, dpp: 0, dpr: 1) == .dpr)
    #expect(Route.route(uniform: last, ddp: 0.1, dpp: 0.2, dpr: 0.7) == .dpr)
    #expect(Route.route(uniform: last, ddp: 0.3, dpp: 0.7 - 1e-12, dpr: 0) == .dpp)
    #expect(Route.route(uniform: 0, ddp: 0, dpp: 1, dpr: 0) == .dpp)
  }
}
